"""The locality-aware order of LPD: each group near what is drawn, its members far from each other.

Many orders are built at once, one in each row (B), so that one NumPy operation serves all of them.
What a cell is worth to the next choice is one whole number, compared by `argmax`: bit fields, most
significant first.

    near_BN    proximity class | tie         only cells that support this group; 0: not one of them
    spread_BN  distance^2 | list place | tie every free cell, for farthest-point filling

Choosing a cell clears every `near` within the repulsion threshold and lowers every `spread` to the
distance from the cell. The next cell is the largest `near`; where none is left, the largest
`spread`.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule

CLASS_BITS = 5  # 25 classes of proximity: 0..4 straight and 0..4 diagonal neighbours
TIE_ROUNDS = 4  # random words that shuffle the ties of one step
CELLS_AT_ONCE = 1 << 17  # cells of all orders in one chunk: larger ones leave the cache
LARGEST_TABLE = 2048  # tokens up to which distances come from an [N, N] table


def default_repulsion_threshold(num_tokens: int) -> int:
    """2 for 256 tokens, 4 for 1024, as published; an eighth of the grid's side for others.

    A threshold in proportion to the side keeps the share of the picture that one chosen cell
    blocks. Never below 1 (64 tokens and fewer): with 0, direct neighbours would be drawn together.
    """
    return max(1, math.floor(math.sqrt(num_tokens) / 8 + 0.5))


class CellTables(NamedTuple):
    """What depends on the grid and the thresholds only. Built once for many orders."""

    near_class: np.ndarray  # [25] by 5 * straight + diagonal: class + 1, 0 below the threshold
    list_place: np.ndarray  # [25] ditto: place in the farthest-point list, larger is earlier
    unseen: np.generic  # distance field of `spread` before the group's first cell
    tie_bits: int
    write_distance: Callable  # (cell_B, out_BN): distance^2 of every cell from cell_B, shifted
    write_is_far: Callable  # (cell_B, out_BN): all bits set beyond the repulsion threshold


def make_cell_tables(
    grid: tuple[int, int], proximity_threshold: float, repulsion_threshold: int
) -> CellTables:
    """Tables for `locality_orders`, in the narrowest integers that hold the bit fields."""
    height, width = grid
    tie_bits = max(2, (height * width - 1).bit_length())
    shift = tie_bits + CLASS_BITS
    unseen = (height - 1) ** 2 + (width - 1) ** 2 + 1
    near_dtype = np.int16 if shift <= 15 else np.int32
    spread_dtype = np.int32 if shift + unseen.bit_length() <= 31 else np.int64

    counts = itertools.product(range(5), range(5))
    proximity = np.array([straight + diagonal / math.sqrt(2) for straight, diagonal in counts])
    rank = np.argsort(np.argsort(proximity))
    is_near = proximity >= proximity_threshold - 1e-9
    # Cells below the threshold come first in the farthest-point list, then those set aside.
    list_place = np.argsort(np.argsort(np.where(is_near, rank - 25, rank)))

    def pairs(num_cells: int) -> np.ndarray:
        return np.abs(np.arange(num_cells)[:, None] - np.arange(num_cells)[None])

    row_H2, column_W2 = pairs(height), pairs(width)
    return CellTables(
        near_class=(np.where(is_near, rank + 1, 0) << tie_bits).astype(near_dtype),
        list_place=(list_place << tie_bits).astype(spread_dtype),
        unseen=spread_dtype(unseen << shift),
        tie_bits=tie_bits,
        write_distance=make_pair_writer(
            (row_H2**2 << shift).astype(spread_dtype),
            (column_W2**2 << shift).astype(spread_dtype),
            np.add,
        ),
        write_is_far=make_pair_writer(
            np.where(row_H2 > repulsion_threshold, -1, 0).astype(near_dtype),
            np.where(column_W2 > repulsion_threshold, -1, 0).astype(near_dtype),
            np.bitwise_or,
        ),
    )


def make_pair_writer(row_H2: np.ndarray, column_W2: np.ndarray, combine: np.ufunc) -> Callable:
    """A function that writes combine(row part, column part) of every cell from given cells."""
    height, width = len(row_H2), len(column_W2)
    num_tokens = height * width
    if num_tokens <= LARGEST_TABLE:  # copying rows of one table is twice as fast
        table_HWHW = combine(row_H2[:, None, :, None], column_W2[None, :, None, :])
        table_N2 = table_HWHW.reshape(num_tokens, num_tokens)

        def write(cell_B: np.ndarray, out_BN: np.ndarray) -> None:
            np.take(table_N2, cell_B, axis=0, out=out_BN, mode="clip")
    else:

        def write(cell_B: np.ndarray, out_BN: np.ndarray) -> None:
            row_B, column_B = np.divmod(cell_B, width)
            out_BHW = out_BN.reshape(-1, height, width)
            combine(row_H2[row_B][:, :, None], column_W2[column_B][:, None, :], out=out_BHW)

    return write


def locality_orders(
    grid: tuple[int, int],
    schedule: GroupSchedule,
    tables: CellTables,
    keys_BSR: np.ndarray,
    drawn_BN: np.ndarray | None = None,
) -> np.ndarray:
    """Locality-aware orders, one for each row of random keys.

    Each group of the schedule ranks the free cells by proximity (the sum of 1 / distance over
    their drawn neighbours, ties at random). Cells at or above the proximity threshold are taken in
    that order, unless one already taken for this group lies within the repulsion threshold
    (Chebyshev distance). What the group still lacks is filled by farthest points from its own
    cells: among those below the threshold and those set aside; equal distances go to the former,
    and there to the higher proximity. The very first cell is uniform. arXiv 2507.01957.

    Args:
        schedule: of all cells, or of those that are not drawn yet.
        keys_BSR: uint32, `TIE_ROUNDS` random words for each order and step.
        drawn_BN: bool by raster position, cells that are drawn before the first step.

    Returns:
        int32 [B, tokens of the schedule]: rank -> raster position.
    """
    height, width = grid
    num_orders = keys_BSR.shape[0]
    order_BN = np.empty((num_orders, schedule.num_tokens), np.int32)
    is_drawn_BHW = np.zeros((num_orders, height + 2, width + 2), np.int8)  # a border of blanks
    if drawn_BN is not None:
        is_drawn_BHW[:, 1:-1, 1:-1] = drawn_BN.reshape(-1, height, width)
    starts = schedule.group_starts
    for step, (start, size) in enumerate(zip(starts, schedule.group_sizes, strict=True)):
        tie_BN = shuffle_ties(keys_BSR[:, step], height * width, tables.tie_bits)
        near_BN, spread_BN = rank_cells(is_drawn_BHW, tie_BN, tables)
        chosen_BQ = order_BN[:, start : start + size]
        choose_group(near_BN, spread_BN, tables, chosen_BQ)
        row_BQ, column_BQ = np.divmod(chosen_BQ, width)
        is_drawn_BHW[np.arange(num_orders)[:, None], row_BQ + 1, column_BQ + 1] = 1
    return order_BN


def shuffle_ties(keys_BR: np.ndarray, num_tokens: int, bits: int) -> np.ndarray:
    """A random rank for every cell, no two alike: uint32 [B, N] below 2^bits.

    Each round (multiply by an odd number, add, xor with the high half) maps `bits`-bit numbers
    one to one, so cells never tie and nothing needs to be sorted.
    """
    mask = np.uint32((1 << bits) - 1)
    tie_BN = np.arange(num_tokens, dtype=np.uint32)[None]
    for key_B in keys_BR.T:
        tie_BN = tie_BN * (key_B | np.uint32(1))[:, None]
        tie_BN += (key_B >> np.uint32(16))[:, None]
        tie_BN &= mask
        tie_BN ^= tie_BN >> np.uint32((bits + 1) // 2)
    return tie_BN


def rank_cells(
    is_drawn_BHW: np.ndarray, tie_BN: np.ndarray, tables: CellTables
) -> tuple[np.ndarray, np.ndarray]:
    """`near` and `spread` of the module's docstring at the start of a group, [B, N] each."""
    across_BHW = is_drawn_BHW[:, :, :-2] + is_drawn_BHW[:, :, 2:]
    middle_BHW = is_drawn_BHW[:, :, 1:-1]
    straight_BHW = middle_BHW[:, :-2] + middle_BHW[:, 2:] + across_BHW[:, 1:-1]
    diagonal_BHW = across_BHW[:, :-2] + across_BHW[:, 2:]
    neighbours_BN = (5 * straight_BHW + diagonal_BHW).reshape(tie_BN.shape)
    is_free_BN = middle_BHW[:, 1:-1].reshape(tie_BN.shape) == 0
    near_BN = tables.near_class[neighbours_BN]
    near_BN += tie_BN.astype(near_BN.dtype)
    near_BN *= is_free_BN & (tables.near_class > 0)[neighbours_BN]
    spread_BN = tables.list_place[neighbours_BN]
    spread_BN += tie_BN.astype(spread_BN.dtype)
    spread_BN += tables.unseen
    spread_BN *= is_free_BN
    return near_BN, spread_BN


def choose_group(
    near_BN: np.ndarray, spread_BN: np.ndarray, tables: CellTables, chosen_BQ: np.ndarray
) -> None:
    """Fills `chosen_BQ` with the cells of one group, in the order in which they are taken.

    A chosen cell is at distance 0 from itself, so its `near` is cleared and its `spread` falls
    below that of every free cell: nothing is chosen twice.
    """
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
        tables.write_distance(chosen_B, distance_BN)
        distance_BN += entry_BN
        np.minimum(spread_BN, distance_BN, out=spread_BN)
        if any_near:
            tables.write_is_far(chosen_B, is_far_BN)
            near_BN &= is_far_BN
