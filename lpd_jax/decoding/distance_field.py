"""How far the cells of grids are from the nearest of some cells, for many grids at once.

Squared Euclidean distances are found axis by axis: along the last from the cells themselves, along
the others as the least of what the lines beside hold, plus the squared step to them. A step that is
longer than every distance found ends the search, so that the cost is cells times the largest
distance, whatever the number of cells to measure from.
"""

import math

import numpy as np


def distance_dtype(grid: tuple[int, ...]) -> type[np.signedinteger]:
    """The narrowest integers that hold every squared distance of a grid, and sums of two."""
    return np.int16 if 2 * beyond(grid) <= np.iinfo(np.int16).max else np.int32


def beyond(grid: tuple[int, ...]) -> int:
    """More than any squared distance in the grid."""
    return sum((side - 1) ** 2 for side in grid) + 1


def lower_distances(
    distance_BN: np.ndarray, grid: tuple[int, ...], row_K: np.ndarray, cell_K: np.ndarray
) -> None:
    """Lowers `distance_BN`, in place, to distance^2 from the given cells where that is less.

    Args:
        distance_BN: of `distance_dtype`. What is 0 costs nothing: so are cells nobody asks for.
        row_K, cell_K: the cells, by the row of their grid and raster position.
    """
    nearest = distance_BN.reshape(-1, *grid)
    field = distances_in_lines(len(nearest), grid, row_K, cell_K)
    for axis in range(len(grid) - 1, 1, -1):
        lines, field = field, field.copy()
        spread_along(axis, lines, field)
    np.minimum(nearest, field, out=nearest)
    spread_along(1, field, nearest)


def distances_in_lines(
    num_grids: int, grid: tuple[int, ...], row_K: np.ndarray, cell_K: np.ndarray
) -> np.ndarray:
    """distance^2 along the last axis, `beyond` in lines without a cell, [B, *grid]."""
    width, num_lines = grid[-1], math.prod(grid[:-1])
    field_LW = np.full((num_grids * num_lines, width), beyond(grid), distance_dtype(grid))
    place_W = np.arange(width, dtype=field_LW.dtype)
    line_K, column_K = np.divmod(row_K.astype(np.int64) * math.prod(grid) + cell_K, width)
    by_line = np.argsort(line_K, kind="stable")
    line_K, column_K = line_K[by_line], column_K[by_line].astype(field_LW.dtype)
    # The first cell of every line at once, then the second ones, ...
    turn_K = np.arange(len(line_K)) - np.searchsorted(line_K, line_K)
    for turn in range(turn_K.max(initial=-1) + 1):
        lines, columns = line_K[turn_K == turn], column_K[turn_K == turn]
        along_LW = place_W - columns[:, None]
        along_LW *= along_LW
        field_LW[lines] = np.minimum(field_LW[lines], along_LW)
    return field_LW.reshape(-1, *grid)


def spread_along(axis: int, field: np.ndarray, nearest: np.ndarray) -> None:
    """Lowers `nearest` to the least of `field` along an axis plus the squared step to it."""
    stepped = np.empty_like(field)
    for step in range(1, field.shape[axis]):
        if step * step >= nearest.max(initial=0):
            return
        np.add(field, field.dtype.type(step * step), out=stepped)
        before = (*[slice(None)] * axis, slice(None, -step))
        after = (*[slice(None)] * axis, slice(step, None))
        for here, there in ((before, after), (after, before)):
            np.minimum(nearest[here], stepped[there], out=nearest[here])
