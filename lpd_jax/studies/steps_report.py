"""The result of a steps study as a table and a plot."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure  # no pyplot: no window, no global state
from matplotlib.ticker import LogLocator

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.markdown import markdown_table, write_report
from lpd_jax.studies.draws import distinct

ORDER_STYLES = {  # colours that colour-blind readers tell apart (Okabe and Ito), and markers
    "raster": ("#0072B2", "s"),
    "random": ("#E69F00", "^"),
    "halton": ("#009E73", "D"),
    "locality": ("#D55E00", "o"),
}
OTHER_STYLE = ("#555555", "x")
FLOOR_STYLES = ("--", ":")


def write(study: Mapping[str, Any], json_file: Path, markdown_file: Path, png_file: Path) -> None:
    """Writes all three, each whole or not at all."""
    plot(study, png_file)
    write_report(study, markdown(study, png_file.name), json_file, markdown_file)


def markdown(study: Mapping[str, Any], plot_name: str) -> str:
    """The study as text: distances, classes and times, then the protocol and the checks."""
    points = study["points"]
    orders = list(dict.fromkeys(point["order"] for point in points))
    steps = sorted({point["num_steps"] for point in points})
    cells = {(point["order"], point["num_steps"]): point for point in points}

    def table(show) -> list[str]:
        rows = ([order, *(show(cells.get((order, n))) for n in steps)] for order in orders)
        return markdown_table(["order", *(f"{n} steps" for n in steps)], rows)

    lines = ["# Quality against decoding steps", "", f"![plot]({plot_name})", ""]
    lines += ["Fréchet distance to the real training pictures, lower is better:", ""]
    lines += table(lambda p: p and f"{p['frechet_distance']:.2f} ± {p['standard_deviation']:.2f}")
    lines += ["", "Reference lines:", ""]
    lines += distance_table(study["floors"])
    lines += ["", "Drawn pictures that the classifier takes for their class:", ""]
    lines += table(lambda p: p and f"{p['class_agreement']:.1%}")
    if num_devices(points) == 1:  # times of several cannot be compared
        lines += ["", "Milliseconds per picture, compilation apart:", ""]
        lines += table(lambda p: p and f"{1000 * p['draw_seconds'] / p['num_images']:.1f}")
    lines += ["", "## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in study["protocol"].items()]
    lines += ["", *explain_spread(points), "Fewer pictures read as a larger distance: mind the"]
    lines += ["numbers in the reference lines.", ""]
    lines += ["## What the distance sees", ""]
    lines += ["The same distance for real validation pictures after known damage. The classifier"]
    lines += ["was trained to find swapped 16x16 patches; blur, noise and other sizes of patches"]
    lines += ["it never saw. Patches lie on a grid that is shifted at random in each picture.", ""]
    lines += distance_table(study["sensitivity"])
    return "\n".join(lines) + "\n"


def num_devices(points: Sequence[Mapping[str, Any]]) -> int:
    """On how many kinds of devices the pictures were drawn."""
    makers = [maker for point in points for maker in point.get("made_with") or [None]]
    return len(distinct(maker and maker["device"] for maker in makers))


def explain_spread(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What ± is, as `draws.pool` makes it; the words of a report and of its protocol."""
    numbers = {row.get("num_draws", 1) for row in rows}
    if numbers == {1}:
        return ["± is the standard deviation over bootstrap resamples of the pictures."]
    return ["Numbers are means over the seeds, ± is the standard deviation of one draw among them."]


def distance_table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    cells = ([r["name"], str(r["num_images"]), f"{r['frechet_distance']:.2f}"] for r in rows)
    return markdown_table(["pictures", "number", "Fréchet distance"], cells)


def plot(study: Mapping[str, Any], path: Path) -> None:
    """Writes the figure as a PNG, whole or not at all."""
    with replacing_file(path, "the report") as temporary:
        make_figure(study).savefig(temporary, format="png")


def make_figure(study: Mapping[str, Any]) -> Figure:
    """One line per order over a logarithmic axis of steps, and the floors."""
    figure = Figure(figsize=(7.2, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    draw_lines(axes, study["points"])
    for row, style in zip(study["floors"], FLOOR_STYLES, strict=False):
        label = f"{row['name']}: {row['frechet_distance']:.2f}"
        axes.axhline(row["frechet_distance"], color="#888888", linestyle=style, label=label)
    steps = sorted({point["num_steps"] for point in study["points"]})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))  # of more the numbers overlap
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("decoding steps per picture")
    axes.set_ylabel("Fréchet distance (lower is better)")
    axes.set_title(study["title"], fontsize=10)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def draw_lines(axes: Any, points: Iterable[Mapping[str, Any]]) -> None:
    """A line and a band of one standard deviation for each order."""
    points = list(points)
    for order in dict.fromkeys(point["order"] for point in points):
        mine = sorted(
            (point for point in points if point["order"] == order),
            key=lambda point: point["num_steps"],
        )
        steps = [point["num_steps"] for point in mine]
        distance = [point["frechet_distance"] for point in mine]
        low = [max(p["frechet_distance"] - p["standard_deviation"], 1e-6) for p in mine]
        high = [p["frechet_distance"] + p["standard_deviation"] for p in mine]
        colour, marker = ORDER_STYLES.get(order, OTHER_STYLE)
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(steps, distance, color=colour, marker=marker, markersize=5, label=order)
