"""Groups of the locality-aware order for few orders: every choice looks at the whole grid.

That takes the fewest NumPy operations, which is what time goes into when each is short; it grows
with the square of the tokens. `locality_lists.py` gives the same groups for many.

Choosing a cell clears every `near` within the repulsion threshold and lowers every `spread` to the
distance from the cell. The next cell is the largest `near`; where none is left, the largest
`spread`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding.locality_cells import Cells, CellTables, shuffle_ties

LARGEST_TABLE = 2048  # tokens up to which distances come from an [N, N] table


class CellWriters(NamedTuple):
    """From one cell of each order to every cell of its grid."""

    distance: Callable  # (cell_B, out_BN): distance^2 of every cell from cell_B, shifted
    is_far: Callable  # (cell_B, out_BN): all bits set beyond the repulsion threshold


def make_writers(tables: CellTables) -> CellWriters:
    """Both writers for a grid and its repulsion threshold."""
    apart = [np.abs(np.arange(side)[:, None] - np.arange(side)[None]) for side in tables.grid]
    spread_dtype, near_dtype = tables.list_place.dtype, tables.near_class.dtype
    squares = [(steps**2 << tables.shift).astype(spread_dtype) for steps in apart]
    reach = tables.repulsion_threshold
    is_far = [np.where(steps > reach, -1, 0).astype(near_dtype) for steps in apart]
    return CellWriters(make_pair_writer(squares, np.add), make_pair_writer(is_far, np.bitwise_or))


def make_pair_writer(parts: Sequence[np.ndarray], combine: np.ufunc) -> Callable:
    """A function that writes combine(part of each axis) of every cell from given cells.

    Args:
        parts: of each axis, `[side, side]`: from one place along it to another.
    """
    grid, axes = tuple(len(part) for part in parts), len(parts)
    num_tokens = math.prod(grid)
    if num_tokens <= LARGEST_TABLE:  # copying rows of one table is twice as fast
        wide = [
            part.reshape([len(part) if j % axes == i else 1 for j in range(2 * axes)])
            for i, part in enumerate(parts)
        ]
        table_N2 = functools.reduce(combine, wide).reshape(num_tokens, num_tokens)

        def write(cell_B: np.ndarray, out_BN: np.ndarray) -> None:
            np.take(table_N2, cell_B, axis=0, out=out_BN, mode="clip")
    else:

        def write(cell_B: np.ndarray, out_BN: np.ndarray) -> None:
            places = np.unravel_index(cell_B, grid)
            *first, last = [
                part[place_B].reshape(-1, *(len(part) if j == i else 1 for j in range(axes)))
                for i, (part, place_B) in enumerate(zip(parts, places, strict=True))
            ]
            combine(functools.reduce(combine, first), last, out=out_BN.reshape(-1, *grid))

    return write


def choose_group(
    cells: Cells, tables: CellTables, writers: CellWriters, chosen_BQ: np.ndarray
) -> None:
    """Fills `chosen_BQ` with the cells of one group, in the order in which they are taken.

    A chosen cell is at distance 0 from itself, so its `near` is cleared and its `spread` falls
    below that of every free cell: nothing is chosen twice.
    """
    near_BN, spread_BN = rank_cells(cells, tables)
    rows_B = np.arange(len(near_BN))
    entry_BN = spread_BN - tables.unseen  # `spread` at distance 0; below 0 where drawn
    distance_BN, is_far_BN = np.empty_like(spread_BN), np.empty_like(near_BN)
    any_near = True
    for chosen_B in chosen_BQ.T:
        if any_near:
            nearest_B = near_BN.argmax(axis=1)
            has_near_B = near_BN[rows_B, nearest_B] > 0
            any_near = has_near_B.any()
        if not any_near:
            chosen_B[:] = spread_BN.argmax(axis=1)
        elif has_near_B.all():
            chosen_B[:] = nearest_B
        else:
            chosen_B[:] = np.where(has_near_B, nearest_B, spread_BN.argmax(axis=1))
        writers.distance(chosen_B, distance_BN)
        distance_BN += entry_BN
        np.minimum(spread_BN, distance_BN, out=spread_BN)
        if any_near:
            writers.is_far(chosen_B, is_far_BN)
            near_BN &= is_far_BN


def rank_cells(cells: Cells, tables: CellTables) -> tuple[np.ndarray, np.ndarray]:
    """`near` and `spread` at the start of a group, [B, N] each."""
    all_1N = np.arange(cells.neighbours_BN.shape[1], dtype=np.uint32)[None]
    tie_BN = shuffle_ties(cells.keys_BR, all_1N, tables.tie_bits)
    near_BN = tables.near_class[cells.neighbours_BN]
    near_BN += tie_BN.astype(near_BN.dtype)
    near_BN *= cells.is_free_BN & (tables.near_class > 0)[cells.neighbours_BN]
    spread_BN = tables.list_place[cells.neighbours_BN]
    spread_BN += tie_BN.astype(spread_BN.dtype)
    spread_BN += tables.unseen
    spread_BN *= cells.is_free_BN
    return near_BN, spread_BN
