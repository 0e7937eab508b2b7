"""A sweep as pictures: distance against score, and distance against decoding steps."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure  # no pyplot: no window, no global state

from lpd_jax.evaluation.sweep import BEST, Row, names_ending
from lpd_jax.runtime.atomic_files import replacing_file

SCORES = ("inception_score", "class_agreement", "precision")
LABELS = {
    "fid": "FID (lower is better)",
    "fvd": "FVD (lower is better)",
    "frechet_distance": "Fréchet distance, no FID (lower is better)",
    "inception_score": "Inception Score (higher is better)",
    "class_agreement": "class agreement (higher is better)",
    "precision": "precision (higher is better)",
}
TRADE_OFF_FILE, STEPS_FILE = "sweep_trade_off.png", "sweep_steps.png"


def plot_sweep(rows: Sequence[Row], folder: Any) -> list[Any]:
    """Writes the plots that the rows have numbers for; gives their paths."""
    distance = next(names_ending(rows, BEST), None)
    if distance is None:
        return []
    suite = distance.rpartition(".")[0]
    columns = {name for row in rows for name in row}
    score = next((f"{suite}.{name}" for name in SCORES if f"{suite}.{name}" in columns), None)
    drawings = {STEPS_FILE: steps_figure(rows, distance)}
    if score is not None:
        drawings[TRADE_OFF_FILE] = trade_off_figure(rows, distance, score)
    for name, figure in drawings.items():
        with replacing_file(folder / name, "the plot") as temporary:
            figure.savefig(temporary, format="png")
    return [folder / name for name in drawings]


def trade_off_figure(rows: Sequence[Row], distance: str, score: str) -> Figure:
    """One line a schedule, order and temperature: its points are scales of guidance."""
    figure, axes = empty_figure()
    for label, line in lines_of(rows, ("num_steps", "order", "temperature"), "guidance_scale"):
        known = [row for row in line if None not in (row.get(distance), row.get(score))]
        x, y = ([row[name] for row in known] for name in (score, distance))
        axes.plot(x, y, marker="o", markersize=4, label=label)
        for row in known:
            place = (row[score], row[distance])
            text = f"{row['guidance_scale']:g}"
            axes.annotate(text, place, (3, 3), textcoords="offset points", fontsize=6)
    return finish(figure, axes, score, distance, "Each point: a scale of guidance")


def steps_figure(rows: Sequence[Row], distance: str) -> Figure:
    """One line an order and temperature: the best scale of guidance at each number of steps."""
    figure, axes = empty_figure()
    for label, line in lines_of(rows, ("order", "temperature"), "num_steps"):
        best: dict[int, float] = {}
        for row in line:
            if row.get(distance) is not None:
                steps = row["num_steps"]
                best[steps] = min(best.get(steps, float("inf")), row[distance])
        axes.plot(list(best), list(best.values()), marker="o", markersize=4, label=label)
    axes.set_xscale("log")
    steps = sorted({row["num_steps"] for row in rows})
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.set_xticks([], minor=True)
    return finish(figure, axes, "decoding steps", distance, "Best guidance at each point")


def lines_of(rows: Sequence[Row], same: Sequence[str], along: str) -> list[tuple[str, list[Row]]]:
    """Rows that agree in `same`, in order of `along`, with a label."""
    lines: dict[tuple, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[along]):
        lines.setdefault(tuple(row[name] for name in same), []).append(row)
    return [
        (", ".join(describe(name, value) for name, value in zip(same, key, strict=True)), line)
        for key, line in sorted(lines.items())
    ]


def describe(name: str, value: Any) -> str:
    if name == "num_steps":
        return f"{value} steps"
    return f"temperature {value:g}" if name == "temperature" else str(value)


def empty_figure() -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.2, 4.5), dpi=160, layout="constrained")
    return figure, figure.add_subplot()


def finish(figure: Figure, axes: Any, x: str, y: str, title: str) -> Figure:
    for set_label, name in ((axes.set_xlabel, x), (axes.set_ylabel, y)):
        set_label(LABELS.get(name.rpartition(".")[2], name))
    axes.set_title(title, fontsize=10)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    return figure
