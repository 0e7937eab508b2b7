"""LPD's ablation of the locality-aware order (arXiv 2507.01957): one threshold varies at a time.

A repulsion threshold of 0 keeps nothing apart that is near ("proximity only" in the paper). Beyond
`MOST_PROXIMITY` no cell is ever near enough, and groups are farthest points ("repulsion only").
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lpd_jax.decoding.order import check_thresholds
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.steps_report import distance_table, explain_spread
from lpd_jax.studies.steps_study import Point

MOST_PROXIMITY = 4 + 4 / 2**0.5  # of a cell in a picture whose eight neighbours are all drawn
RANDOM = "random order"
# FID of LPD-XL on ImageNet, 256 pixels, 32 steps.
PUBLISHED: dict[str, dict[float | None, float]] = {
    RANDOM: {None: 2.11},
    "repulsion_threshold": {0: 2.00, 1: 1.94, 2: 1.92, 3: 1.97, 4: 2.00},
    "proximity_threshold": {0: 1.94, 0.2: 1.94, 0.5: 1.93, 1: 1.92, 1.5: 2.00, 2: 2.04},
}
PUBLISHED_REPULSION_ONLY = 2.06


class Variant(NamedTuple):
    """A row of the table."""

    varied: str  # name of the threshold, or `RANDOM`
    value: float | int | None
    point: Point

    @property
    def published(self) -> float | None:
        if self.varied == "proximity_threshold" and (self.value or 0) > MOST_PROXIMITY:
            return PUBLISHED_REPULSION_ONLY
        return PUBLISHED[self.varied].get(self.value)


def make_variants(
    num_steps: int,
    num_tokens: int,
    generation: Generation,
    proximity_thresholds: Sequence[float],
    repulsion_thresholds: Sequence[int],
) -> list[Variant]:
    """The random order and every threshold; none where no threshold is asked for.

    A value that is the model's own makes the point that the locality-aware order is elsewhere, so
    that it is drawn once.
    """
    own = own_values(num_tokens, generation)
    asked: dict[str, Iterable[float]] = {
        "repulsion_threshold": dict.fromkeys(repulsion_thresholds),
        "proximity_threshold": dict.fromkeys(proximity_thresholds),
    }
    variants = []
    for name, values in asked.items():
        for value in values:
            choice: dict[str, Any] = {} if value == own[name] else {name: value}
            variants.append(Variant(name, value, Point("locality", num_steps, **choice)))
    return [Variant(RANDOM, None, Point("random", num_steps)), *variants] if variants else []


def own_values(num_tokens: int, generation: Generation) -> dict[str, float]:
    """Both thresholds that a model draws with by itself."""
    proximity, repulsion = check_thresholds(
        num_tokens, generation.proximity_threshold, generation.repulsion_threshold
    )
    return {"repulsion_threshold": repulsion, "proximity_threshold": proximity}


def rows_of(
    variants: Iterable[Variant], judged: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What was measured of each variant, and what the paper has."""
    return [
        {**row, "varied": variant.varied, "value": variant.value, "published": variant.published}
        for variant, row in zip(variants, judged, strict=True)
    ]


def write(study: Mapping[str, Any], json_file: Path, markdown_file: Path) -> None:
    """Writes both, each whole or not at all."""
    write_report(study, markdown(study), json_file, markdown_file)


def markdown(study: Mapping[str, Any]) -> str:
    """The ablation as text: ours and the published numbers, the protocol."""
    rows = study["rows"]
    header = ["what varies", "value", "Fréchet distance", "class seen", "published FID"]
    cells = [
        [
            row["varied"].replace("_", " "),
            None if row["value"] is None else f"{row['value']:g}",
            f"{row['frechet_distance']:.2f} ± {row['standard_deviation']:.2f}",
            f"{row['class_agreement']:.1%}",
            None if row["published"] is None else f"{row['published']:.2f}",
        ]
        for row in rows
    ]
    lines = ["# The locality-aware order, one threshold at a time", ""]
    lines += [f"{rows[0]['num_steps']} decoding steps; the other threshold is the model's own:"]
    lines += [
        ", ".join(f"{name.replace('_', ' ')} {x:g}" for name, x in study["own"].items()) + "."
    ]
    lines += [f"A proximity threshold above {MOST_PROXIMITY:.2f} takes farthest points alone.", ""]
    lines += markdown_table(header, cells)
    lines += [
        "",
        "Published (arXiv 2507.01957): FID of LPD-XL on ImageNet at 256 pixels in 32 steps.",
    ]
    lines += ["Lower is better in both columns.", *explain_spread(rows), ""]
    lines += distance_table(study["floors"])
    lines += ["", "## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    return "\n".join(lines) + "\n"
