"""Draws of the same pictures from several seeds: which there are, and their numbers together."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lpd_jax.models.settings import Generation
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.errors import UserError

AVERAGED = ("frechet_distance", "class_agreement", "draw_seconds", "compile_seconds")


def checked_seeds(texts: Sequence[str] | None) -> list[int]:
    """The seeds that a list flag spells; none where it is left out.

    Raises:
        UserError: what is no seed, or is there twice.
    """
    seeds = [parse_whole("seeds", text) for text in texts or []]
    for seed in seeds:
        Generation(seed=seed)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds: got {', '.join(map(str, seeds))}, allowed are different ones")
    return seeds


def pool(draws: Sequence[Mapping[str, Any]], averaged: Sequence[str] = AVERAGED) -> dict[str, Any]:
    """One row of several draws, of one model from several seeds or of several trainings.

    Numbers are means. The spread of the distance is the standard deviation of a draw; that of a
    single one comes from resampling its pictures.
    """
    row = dict(draws[0]) | {
        name: statistics.fmean(draw[name] for draw in draws) for name in averaged
    }
    distances = [draw["frechet_distance"] for draw in draws]
    if len(distances) > 1:
        row["standard_deviation"] = statistics.stdev(distances)
    row |= {"num_draws": len(draws), "distances": distances}
    return row | {"made_with": distinct(draw.get("made_with") for draw in draws)}


def add_latencies(rows: Sequence[dict[str, Any]], times: Iterable[Any]) -> None:
    """Writes into each row how long its model takes for one picture or clip.

    Args:
        times: `Quartiles` of each row's model, in the order of the rows.
    """
    for row, one in zip(rows, times, strict=True):
        row |= {"latency_seconds": one.median, "latency": one._asdict()}


def describe_makers(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Where the pictures of pooled rows were drawn, for a protocol.

    They say it themselves: whoever writes the table may be another machine.
    """
    makers = distinct(maker for row in rows for maker in row["made_with"])
    devices = distinct(
        f"{maker['device']}, {maker['batch_size']} pictures at a time, jax {maker['jax']}"
        if maker
        else "not recorded"
        for maker in makers
    )
    commits = distinct(maker["commit"] if maker else "not recorded" for maker in makers)
    return {"drawn on": "; ".join(devices), "drawn at commit": ", ".join(commits)}


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order of the first; they need no hash."""
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept
