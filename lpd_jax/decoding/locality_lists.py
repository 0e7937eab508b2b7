"""Groups of the locality-aware order for many orders: choices look at lists of cells.

Each list (C) holds the cells in question: first the frontier of what is drawn, the largest `near`
in front, then those farthest from the group so far. Whole grids (N) are passed over a few times a
group, not once a cell. `locality_grids.py` gives the same groups for few orders.
"""

import functools
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from lpd_jax.decoding.distance_field import beyond, distance_dtype, lower_distances
from lpd_jax.decoding.locality_cells import Cells, CellTables, shuffle_ties

LEAST_SHARE = 0.4  # of the largest distance^2: nearer cells wait for another list


def choose_group(cells: Cells, tables: CellTables, chosen_BQ: np.ndarray) -> None:
    """Fills `chosen_BQ` with the cells of one group, in the order in which they are taken."""
    num_near_B = take_near(cells, tables, chosen_BQ)
    fill_farthest(cells, tables, chosen_BQ, num_near_B)


def take_near(cells: Cells, tables: CellTables, chosen_BQ: np.ndarray) -> np.ndarray:
    """Fills each row of `chosen_BQ` from the left with cells near what is drawn.

    Returns:
        How many there are, [B]; what stands right of them means nothing.
    """
    cell_BC, is_left_BC = list_near_cells(cells, tables)
    num_near_B = np.zeros(len(cell_BC), np.int64)
    if not cell_BC.shape[1]:
        return num_near_B
    reach = min(tables.repulsion_threshold, max(tables.grid))
    dtype = np.uint8 if max(tables.grid) + reach < 256 else np.uint16
    places_BC = places_of(cell_BC, tables, dtype)
    starts_B = np.arange(len(cell_BC)) * cell_BC.shape[1]
    for chosen_B in chosen_BQ.T:
        first_B = is_left_BC.argmax(axis=1)
        first_B += starts_B
        has_near_B = is_left_BC.take(first_B)
        if not has_near_B.any():
            break
        num_near_B += has_near_B
        chosen_B[:] = cell_BC.take(first_B)
        is_left_BC &= is_beyond_window(places_BC, first_B, dtype(reach))
    return num_near_B


def list_near_cells(cells: Cells, tables: CellTables) -> tuple[np.ndarray, np.ndarray]:
    """The cells near what is drawn, the largest `near` first, and where there is one, [B, C]."""
    wanted_BN = cells.is_free_BN
    if tables.near_class[0] == 0:  # only drawn neighbours make a cell near
        wanted_BN = wanted_BN & (cells.neighbours_BN > 0)
    flat_BC, cell_BC, is_one_BC = list_cells(wanted_BN)
    # near | cell in one number, so that sorting values sorts cells.
    is_small = tables.shift + tables.tie_bits <= 32
    near_BC = tables.near_class.take(cells.neighbours_BN.take(flat_BC))
    worth_BC: np.ndarray = near_BC.astype(np.uint32 if is_small else np.uint64)
    worth_BC |= shuffle_ties(cells.keys_BR, cell_BC, tables.tie_bits)
    worth_BC <<= tables.tie_bits
    worth_BC |= cell_BC
    worth_BC *= is_one_BC & (near_BC > 0)
    worth_BC.sort(axis=1)
    num_columns = int(worth_BC.any(axis=0).sum())
    worth_BC = worth_BC[:, ::-1][:, :num_columns]
    cell_BC = np.bitwise_and(worth_BC, (1 << tables.tie_bits) - 1).astype(np.uint32, order="C")
    return cell_BC, np.ascontiguousarray(worth_BC > 0)


def is_beyond_window(
    places_BC: list[np.ndarray], index_B: np.ndarray, reach: np.unsignedinteger
) -> np.ndarray:
    """Which cells are farther than `reach` along any axis from the one at a flat index.

    Unsigned numbers wrap: a place before the window is beyond it, and one comparison tells both.
    """
    starts = (place_BC.take(index_B)[:, None] - reach for place_BC in places_BC)
    is_beyond = (p - start > 2 * reach for p, start in zip(places_BC, starts, strict=True))
    return functools.reduce(operator.ior, is_beyond)


def fill_farthest(
    cells: Cells, tables: CellTables, chosen_BQ: np.ndarray, num_near_B: np.ndarray
) -> None:
    """Fills each row of `chosen_BQ` right of its first `num_near_B` by farthest points."""
    rank_Q = np.arange(chosen_BQ.shape[1])
    row_B = np.flatnonzero(num_near_B < len(rank_Q))
    num_done_B, num_chosen_B = np.zeros_like(row_B), num_near_B[row_B]
    unseen = distance_dtype(tables.grid)(beyond(tables.grid))
    distance_BN = cells.is_free_BN[row_B] * unseen
    while row_B.size:
        is_new_BQ = (rank_Q >= num_done_B[:, None]) & (rank_Q < num_chosen_B[:, None])
        new_row_K, new_rank_K = np.nonzero(is_new_BQ)
        new_cell_K = chosen_BQ[row_B[new_row_K], new_rank_K]
        lower_distances(distance_BN, tables.grid, new_row_K, new_cell_K)
        num_done_B = num_chosen_B
        num_chosen_B = take_farthest(cells, tables, row_B, distance_BN, chosen_BQ, num_done_B)
        lacks_B = num_chosen_B < len(rank_Q)
        row_B, distance_BN = row_B[lacks_B], distance_BN[lacks_B]
        num_done_B, num_chosen_B = num_done_B[lacks_B], num_chosen_B[lacks_B]


class FarList(NamedTuple):
    """Cells that no other is farther than, but those of this list."""

    cell_BC: np.ndarray
    places_BC: list[np.ndarray]  # along each axis
    low_BC: np.ndarray  # `spread` without the distance
    spread_BC: np.ndarray  # 0 where there is no cell
    least_B: np.ndarray  # a `spread` below it may be less than that of a cell left out


def take_farthest(
    cells: Cells,
    tables: CellTables,
    row_B: np.ndarray,
    distance_BN: np.ndarray,
    chosen_BQ: np.ndarray,
    num_chosen_B: np.ndarray,
) -> np.ndarray:
    """Continues rows of `chosen_BQ` with the farthest cells, as far as a list of them tells.

    Args:
        row_B: which rows of `chosen_BQ` and `cells` the others are about.
        distance_BN: distance^2 of free cells from the group, 0 elsewhere.
        num_chosen_B: how many each row has; it lacks at least one.

    Returns:
        How many each row has now, at least one more.
    """
    num_left_B = chosen_BQ.shape[1] - num_chosen_B
    share_B = np.maximum(LEAST_SHARE, num_chosen_B / chosen_BQ.shape[1])
    far = list_far_cells(cells, tables, row_B, distance_BN, share_B)
    index_BQ, is_farthest_BQ = farthest_points(far, tables, int(num_left_B.max()))
    is_farthest_BQ &= np.arange(index_BQ.shape[1]) < num_left_B[:, None]
    at_K, rank_K = np.nonzero(is_farthest_BQ)
    chosen_BQ[row_B[at_K], num_chosen_B[at_K] + rank_K] = far.cell_BC.take(index_BQ[at_K, rank_K])
    return num_chosen_B + is_farthest_BQ.sum(axis=1)


def list_far_cells(
    cells: Cells,
    tables: CellTables,
    row_B: np.ndarray,
    distance_BN: np.ndarray,
    share_B: np.ndarray,
) -> FarList:
    """The cells at `share_B` of the largest distance^2 and more."""
    bound_B = np.maximum(1, (distance_BN.max(axis=1) * share_B).astype(distance_BN.dtype))
    flat_BC, cell_BC, is_one_BC = list_cells(distance_BN >= bound_B[:, None])
    index_BC = cell_BC + row_B[:, None] * distance_BN.shape[1]
    low_BC = tables.list_place.take(cells.neighbours_BN.take(index_BC))
    low_BC += shuffle_ties(cells.keys_BR[row_B], cell_BC, tables.tie_bits).astype(low_BC.dtype)
    low_BC *= is_one_BC
    spread_BC = distance_BN.take(flat_BC).astype(low_BC.dtype)
    spread_BC <<= tables.shift
    spread_BC += low_BC
    spread_BC *= is_one_BC
    places_BC = places_of(cell_BC, tables, distance_BN.dtype)
    return FarList(
        cell_BC, places_BC, low_BC, spread_BC, bound_B.astype(low_BC.dtype) << tables.shift
    )


def farthest_points(far: FarList, tables: CellTables, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Farthest points of a list, one after another, each at the largest `spread`.

    That only shrinks as more are chosen: a cell left out of the list stays below its bound, so a
    point at or above the bound is the farthest of all.

    Returns:
        Flat indices into the list, [B, Q], and which are the farthest of all: the first of each
        row, one at least.
    """
    spread_BC = far.spread_BC.copy()
    starts_B = np.arange(len(spread_BC)) * spread_BC.shape[1]
    index_QB = np.zeros((num, len(spread_BC)), np.int64)
    is_farthest_QB = np.zeros(index_QB.shape, bool)
    for index_B, is_farthest_B in zip(index_QB, is_farthest_QB, strict=True):
        np.add(spread_BC.argmax(axis=1), starts_B, out=index_B)
        np.greater_equal(spread_BC.take(index_B), far.least_B, out=is_farthest_B)
        if not is_farthest_B.any():
            break
        apart_BC = np.left_shift(
            squared_distances(far.places_BC, index_B), tables.shift, dtype=spread_BC.dtype
        )
        apart_BC += far.low_BC
        np.minimum(spread_BC, apart_BC, out=spread_BC)
    return index_QB.T, is_farthest_QB.T


def squared_distances(places_BC: list[np.ndarray], index_B: np.ndarray) -> np.ndarray:
    """distance^2 of the cells of each row from the one at a flat index, [B, C]."""
    steps = [place_BC - place_BC.take(index_B)[:, None] for place_BC in places_BC]
    for along_BC in steps:
        along_BC *= along_BC
    return functools.reduce(operator.iadd, steps)


def places_of(cell_BC: np.ndarray, tables: CellTables, dtype: DTypeLike) -> list[np.ndarray]:
    """Where cells are along each axis."""
    grid = tables.grid
    places = np.indices(grid, dtype=dtype).reshape(len(grid), -1)
    return [place_N.take(cell_BC) for place_N in places]


def list_cells(wanted_BN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The wanted cells of each row in raster order, and where there is one.

    Returns:
        Flat indices and raster positions, [B, C], those of cell 0 where a row has no more; bool.
    """
    num_rows, num_cells = wanted_BN.shape
    flat = np.flatnonzero(wanted_BN)
    starts_B = np.arange(num_rows + 1) * num_cells
    count_B = np.diff(np.searchsorted(flat, starts_B))
    is_one_BC = np.arange(count_B.max(initial=0)) < count_B[:, None]
    flat_BC = np.repeat(starts_B[:-1, None], is_one_BC.shape[1], axis=1)
    flat_BC[is_one_BC] = flat
    return flat_BC, (flat_BC - starts_B[:-1, None]).astype(np.uint32), is_one_BC
