"""The maps of a dependency study as two figures. Letters: H rows, W columns of the grid."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure  # no pyplot: no window, no global state
from matplotlib.patches import Rectangle

ENTROPY_COLOURS, GAIN_COLOURS = "viridis", "magma_r"
MARK_COLOUR, REGION_COLOUR = "#00A0C8", "#999999"
LINE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#555555")
BAR: dict[str, Any] = {"fraction": 0.03, "pad": 0.01}

Row = Mapping[str, Any]


def given_one_figure(title: str, nothing: Row, rows: Sequence[Row]) -> Figure:
    """Above what is not known of each token, below what the reference told of it.

    Args:
        nothing: the row without a reference.
        rows: those with one.
    """
    figure = Figure(figsize=(2.0 * len(rows) + 2.9, 4.9), dpi=110, layout="constrained")
    axes = figure.subplots(2, 1 + len(rows), squeeze=False)
    marks = [tuple(row["reference"]) for row in rows]
    entropies = [np.array(row["entropy"]["map"]) for row in (nothing, *rows)]
    # The entry of the reference itself is 0 and not shown.
    least = min(float(map_HW[map_HW > 0].min()) for map_HW in entropies)
    norm = Normalize(least, max(float(map_HW.max()) for map_HW in entropies))
    image = draw_maps(axes[0], entropies, [None, *marks], norm, ENTROPY_COLOURS)
    figure.colorbar(image, ax=axes[0], label="entropy, nats", **BAR)
    names = ["nothing given", *(f"given {row}:{column}" for row, column in marks)]
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize=9)

    gains = [np.array(row["gain"]["map"]) for row in rows]
    # A few next neighbours would take the whole scale for themselves.
    norm = from_zero(float(np.quantile(np.stack(gains), 0.995)))
    image = draw_maps(axes[1, 1:], gains, marks, norm, GAIN_COLOURS)
    figure.colorbar(image, ax=axes[1], label="gain, nats", extend="both", **BAR)
    draw_distances(axes[1, 0], rows)
    figure.suptitle(f"{title}: what one token tells of the others", fontsize=11)
    return figure


def at_once_figure(title: str, rows: Sequence[Row]) -> Figure:
    """The increase of each token's entropy: a row of maps for each n, a column for each order.

    Args:
        rows: one for each n and order.
    """
    sizes = sorted({row["num_parallel"] for row in rows})
    orders = list(dict.fromkeys(row["order"] for row in rows))
    figure = Figure(figsize=(6.6, 3.2 * len(sizes) + 0.5), dpi=110, layout="constrained")
    axes = figure.subplots(len(sizes), len(orders), squeeze=False)
    norm = from_zero(max(float(np.max(row["increase"]["map"])) for row in rows))
    for row in rows:
        n, increase = row["num_parallel"], row["increase"]
        ax, map_HW = axes[sizes.index(n), orders.index(row["order"])], np.array(increase["map"])
        image = draw_maps([ax], [map_HW], [None], norm, GAIN_COLOURS)
        total = f"{increase['sum']:.1f} ± {increase['sum_error']:.1f}"
        ax.set_title(f"{row['order']}, {n} at a time:\n{total} nats an image", fontsize=9)
        if row["order"] == "region":
            draw_regions(ax, map_HW.shape, n)
    figure.colorbar(image, ax=axes, label="increase of entropy, nats", extend="min", **BAR)
    figure.suptitle(f"{title}: drawn at once, not one by one", fontsize=11)
    return figure


def from_zero(highest: float) -> Normalize:
    return Normalize(0, max(highest, 1e-3))  # a model that learned nothing has none above 0


def gain_at_distance(row: Row, first: int, last: int | None) -> float | None:
    """Mean gain of the tokens `first` to `last` rows or columns away; None if there are none."""
    gain_HW = np.array(row["gain"]["map"])
    rows_HW, columns_HW = np.indices(gain_HW.shape)
    row_there, column_there = row["reference"]
    away_HW = np.maximum(abs(rows_HW - row_there), abs(columns_HW - column_there))
    is_there_HW = (away_HW >= first) & (away_HW <= (away_HW.max() if last is None else last))
    return float(gain_HW[is_there_HW].mean()) if is_there_HW.any() else None


def draw_maps(
    axes: Iterable[Any],
    maps: Iterable[np.ndarray],
    marks: Iterable[tuple[int, int] | None],
    norm: Normalize,
    colours: str,
) -> Any:
    """Grids of one scale; a marked cell is framed and left white. Returns what a scale is of."""
    for ax, map_HW, mark in zip(axes, maps, marks, strict=True):
        image = ax.imshow(map_HW, norm=norm, cmap=colours, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        if mark is not None:
            corner = (mark[1] - 0.5, mark[0] - 0.5)
            frame = Rectangle(corner, 1, 1, facecolor="white", edgecolor=MARK_COLOUR, linewidth=2)
            frame.set_clip_on(False)
            ax.add_patch(frame)
    return image


def draw_distances(ax: Any, rows: Sequence[Row]) -> None:
    """A line for each reference: the mean gain over the tokens that are equally far away."""
    for i, row in enumerate(rows):
        farthest = max(np.array(row["gain"]["map"]).shape)
        gains = [gain_at_distance(row, distance, distance) for distance in range(1, farthest)]
        is_there = [distance for distance, gain in enumerate(gains, 1) if gain is not None]
        label = "{}:{}".format(*row["reference"])
        colour = LINE_COLOURS[i % len(LINE_COLOURS)]
        ax.plot(is_there, gains[: len(is_there)], ".-", color=colour, linewidth=1, label=label)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("rows or columns away", fontsize=8)
    ax.set_ylabel("mean gain, nats", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=7, handlelength=1.2)


def draw_regions(ax: Any, grid: tuple[int, ...], n: int) -> None:
    root = round(n**0.5)
    for i in range(1, root):
        ax.axhline(i * grid[0] / root - 0.5, color=REGION_COLOUR, linewidth=0.7)
        ax.axvline(i * grid[1] / root - 0.5, color=REGION_COLOUR, linewidth=0.7)
