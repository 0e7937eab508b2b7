"""The result of a study of models as a table and a plot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure  # no pyplot: no window, no global state

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.steps_report import FLOOR_STYLES, distance_table

Row = Mapping[str, Any]
# Columns of words, which tell the variants of PAR apart: left out where they tell nothing.
VARIANTS: dict[str, Callable[[Row], str]] = {
    "first tokens": lambda row: row["first_tokens"],
    "inside a group": lambda row: row["inside_a_group"],
}
WORDS: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row["name"],
    "method": lambda row: row["method"],
    "order": lambda row: row["order"],
    **VARIANTS,
}
NUMBERS: dict[str, Callable[[Row], str]] = {
    "at once": lambda row: str(row["most_at_once"]),
    "steps": lambda row: str(row["num_steps"]),
    "Fréchet distance": lambda row: (
        f"{row['frechet_distance']:.2f} ± {row['standard_deviation']:.2f}"
    ),
    "class seen": lambda row: f"{row['class_agreement']:.1%}",
    "nats a token": lambda row: shown_or_dash(row["nats_per_token"], "{:.3f}"),
    "ms a picture": lambda row: f"{1000 * row['draw_seconds'] / row['num_images']:.1f}",
    "ms alone": lambda row: f"{1000 * row['latency_seconds']:.0f}",
    "M parameters": lambda row: f"{row['parameters'] / 1e6:.2f}",
    "GFLOP to learn from a picture": lambda row: shown_or_dash(
        row["training_flops"], "{:.1f}", 1e9
    ),
}
# Okabe and Ito: colour-blind readers tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"


def shown_or_dash(value: float | None, form: str, unit: float = 1) -> str:
    return "-" if value is None else form.format(value / unit)


def columns_of(rows: Sequence[Row]) -> dict[str, Callable[[Row], str]]:
    """The columns of a table, without those that say the same of every row."""
    idle = {name for name, show in VARIANTS.items() if len({show(row) for row in rows} - {"-"}) < 2}
    return {name: show for name, show in (WORDS | NUMBERS).items() if name not in idle}


def summary(row: Row) -> str:
    """A row in a line, before it was timed alone."""
    told = WORDS | {name: show for name, show in NUMBERS.items() if name != "ms alone"}
    return ", ".join(f"{name} {show(row)}" for name, show in told.items())


def write(
    study: Mapping[str, Any], json_file: Path, markdown_file: Path, plot_file: Path, picture: str
) -> None:
    """Writes all three, each whole or not at all; `picture` is the name of the file of pictures."""
    with replacing_file(plot_file, "the report") as temporary:
        make_figure(study).savefig(temporary, format="png")
    write_report(study, markdown(study, plot_file.name, picture), json_file, markdown_file)


def markdown(study: Mapping[str, Any], plot: str, picture: str) -> str:
    """The study as text: the table, what real pictures come to, the protocol."""
    columns = columns_of(study["rows"])
    rows = [[show(row) for show in columns.values()] for row in study["rows"]]
    lines = ["# Methods beside each other", ""]
    lines += markdown_table(list(columns), rows, len(columns.keys() & WORDS.keys()))
    lines += ["", "Fréchet distance to the real training pictures, lower is better; ± is the"]
    lines += ["standard deviation of a draw, over seeds and trainings where there are several,"]
    lines += ["else over bootstrap resamples of the pictures. Nats a token: real"]
    lines += ["validation pictures under the model's own order and schedule, where tokens of one"]
    lines += ["step are independent given those before. Milliseconds a picture are of whole"]
    lines += ["batches, alone of one picture at a time; compilation apart, tokenizer included.", ""]
    lines += [f"![Distance against time]({plot})", ""]
    lines += distance_table(study["floors"])
    lines += ["", f"![The same labels and seed, one row for each model]({picture})", ""]
    lines += ["## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    return "\n".join(lines) + "\n"


def make_figure(study: Mapping[str, Any]) -> Figure:
    """Distance against the time of one picture; a colour for each method, error bars."""
    figure = Figure(figsize=(7.2, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(row["method"] for row in study["rows"]))
    for i, method in enumerate(methods):
        mine = [row for row in study["rows"] if row["method"] == method]
        axes.errorbar(
            [1000 * row["latency_seconds"] for row in mine],
            [row["frechet_distance"] for row in mine],
            [row["standard_deviation"] for row in mine],
            fmt=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            capsize=3,
            label=method,
        )
    for row in study["rows"]:
        place = 1000 * row["latency_seconds"], row["frechet_distance"]
        text = f"{row['name']}, {row['num_steps']}"
        axes.annotate(text, place, xytext=(5, 5), textcoords="offset points", fontsize=7)
    for row, style in zip(study["floors"], FLOOR_STYLES, strict=False):
        label = f"{row['name']}: {row['frechet_distance']:.2f}"
        axes.axhline(row["frechet_distance"], color="#888888", linestyle=style, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("milliseconds for one picture (with its decoding steps)")
    axes.set_ylabel("Fréchet distance (lower is better)")
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
