"""The locality-aware order of LPD: each group near what is drawn, its members far from each other.

Many orders are built at once, side by side in the last axis (B), so that one NumPy operation
serves all of them. Every step a cell takes in the ranking is one whole number, compared by `max`:
bit fields, most significant first.

    near_HWB   proximity class | tie        only cells that support this group; 0: not one of them
    spread_HWB distance² | list place | tie every free cell, for farthest-point filling

Choosing a cell sets every `near` entry within the repulsion threshold to 0 and lowers `spread` to
its distance. The next cell is the largest `near`, or the largest `spread` where no `near` is left.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule

CLASS_BITS = 5  # 25 classes of proximity: 0..4 straight and 0..4 diagonal neighbours
TIE_ROUNDS = 4
CELLS_AT_ONCE = 1 << 15  # cells of all orders in one chunk: the work arrays stay in cache


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
    row_distance_H2: np.ndarray  # [H, H] squared distance of rows, shifted to its bit field
    column_distance_W2: np.ndarray  # [W, W]
    row_is_far_H2: np.ndarray  # [H, H] all bits set beyond the repulsion threshold, else none
    column_is_far_W2: np.ndarray  # [W, W]
    unseen: np.generic  # `spread` distance before the group's first cell
    tie_bits: int


def make_cell_tables(
    grid: tuple[int, int], proximity_threshold: float, repulsion_threshold: int
) -> CellTables:
    """Tables for `locality_orders`. Integers of 32 bits where the fields fit, else of 64."""
    height, width = grid
    tie_bits = max(2, (height * width - 1).bit_length())
    shift = tie_bits + CLASS_BITS
    farthest = (height - 1) ** 2 + (width - 1) ** 2 + 1
    dtype = np.int32 if shift + farthest.bit_length() <= 31 else np.int64

    counts = itertools.product(range(5), range(5))
    proximity = np.array([straight + diagonal / math.sqrt(2) for straight, diagonal in counts])
    rank = np.argsort(np.argsort(proximity))
    is_near = proximity >= proximity_threshold - 1e-9
    # Cells below the threshold come first in the farthest-point list, then those set aside.
    place = np.argsort(np.argsort(np.where(is_near, rank - 25, rank)))
    near_class = np.where(is_near, rank + 1, 0)

    def distance(side):
        return ((np.arange(side)[:, None] - np.arange(side)) ** 2 << shift).astype(dtype)

    def is_far(side):
        apart = np.abs(np.arange(side)[:, None] - np.arange(side))
        return -(apart > repulsion_threshold).astype(dtype)

    return CellTables(
        (near_class << tie_bits).astype(dtype),
        (place << tie_bits).astype(dtype),
        *(distance(height), distance(width), is_far(height), is_far(width)),
        dtype(farthest << shift),
        tie_bits,
    )


def locality_orders(
    grid: tuple[int, int], schedule: GroupSchedule, tables: CellTables, keys_BSR: np.ndarray
) -> np.ndarray:
    """Locality-aware orders, one for each row of random keys.

    Each group of the schedule ranks the free cells by proximity (the sum of 1 / distance over
    their drawn neighbours, ties at random). Cells at or above the proximity threshold are taken in
    that order, unless one already taken for this group lies within the repulsion threshold
    (Chebyshev distance). What the group still lacks is filled by farthest points: first from the
    cells below the threshold, then from those set aside; equal distances go to the earlier one.
    The very first cell is uniform. arXiv 2507.01957, section 3.3.

    Args:
        keys_BSR: uint32, four words for each order and step; they shuffle the step's ties.

    Returns:
        int32 [B, N]: rank -> raster position.
    """
    height, width = grid
    num_orders = keys_BSR.shape[0]
    order_NB = np.empty((height * width, num_orders), np.int32)
    is_drawn_HWB = np.zeros((height + 2, width + 2, num_orders), np.int8)  # a border of blanks
    starts = schedule.group_starts
    for step, (start, size) in enumerate(zip(starts, schedule.group_sizes, strict=True)):
        tie_NB, cell_of_tie_MB = shuffle_ties(keys_BSR[:, step], height * width, tables.tie_bits)
        tie_HWB = tie_NB.reshape(height, width, num_orders)
        near_HWB, spread_HWB = rank_cells(is_drawn_HWB, tie_HWB, tables)
        chosen_QB = order_NB[start : start + size]
        choose_group(near_HWB, spread_HWB, cell_of_tie_MB, tables, chosen_QB)
        row_QB, column_QB = np.divmod(chosen_QB, width)
        is_drawn_HWB[row_QB + 1, column_QB + 1, np.arange(num_orders)] = 1
    return np.ascontiguousarray(order_NB.T)


def shuffle_ties(keys_BR: np.ndarray, num_tokens: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """A random permutation of the cells for each order, and its inverse.

    Each round (multiply by an odd number, add, xor with the high half) maps `bits`-bit numbers
    one to one, so cells never tie and nothing needs to be sorted.

    Returns:
        uint32 [N, B], the tie-breaker of each cell; int32 [M, B], the cell of each tie-breaker.
    """
    mask = np.uint32((1 << bits) - 1)
    tie_NB = np.arange(num_tokens, dtype=np.uint32)[:, None]
    for key_B in keys_BR.T:
        tie_NB = tie_NB * (key_B | np.uint32(1))
        tie_NB += key_B >> np.uint32(16)
        tie_NB &= mask
        tie_NB ^= tie_NB >> np.uint32((bits + 1) // 2)
    cell_of_tie_MB = np.zeros((1 << bits, keys_BR.shape[0]), np.int32)
    cell_of_tie_MB[tie_NB, np.arange(keys_BR.shape[0])] = np.arange(num_tokens)[:, None]
    return tie_NB, cell_of_tie_MB


def rank_cells(
    is_drawn_HWB: np.ndarray, tie_HWB: np.ndarray, tables: CellTables
) -> tuple[np.ndarray, np.ndarray]:
    """`near` and `spread` of the module's docstring at the start of a group, [H, W, B] each."""
    across_HWB = is_drawn_HWB[:, :-2] + is_drawn_HWB[:, 2:]
    middle_HWB = is_drawn_HWB[:, 1:-1]
    straight_HWB = middle_HWB[:-2] + middle_HWB[2:] + across_HWB[1:-1]
    diagonal_HWB = across_HWB[:-2] + across_HWB[2:]
    neighbours_HWB = 5 * straight_HWB + diagonal_HWB
    is_free_HWB = middle_HWB[1:-1] == 0
    near_HWB = tables.near_class[neighbours_HWB]
    near_HWB += tie_HWB.astype(near_HWB.dtype) * (near_HWB > 0)
    near_HWB *= is_free_HWB
    spread_HWB = tables.list_place[neighbours_HWB]
    spread_HWB += tie_HWB.astype(spread_HWB.dtype)
    spread_HWB += tables.unseen
    spread_HWB *= is_free_HWB
    return near_HWB, spread_HWB


def choose_group(
    near_HWB: np.ndarray,
    spread_HWB: np.ndarray,
    cell_of_tie_MB: np.ndarray,
    tables: CellTables,
    chosen_QB: np.ndarray,
) -> None:
    """Fills `chosen_QB` with the cells of one group, in the order in which they are taken.

    A chosen cell is at distance 0 from itself, so its `near` is cleared and its `spread` falls
    below that of every free cell: nothing is chosen twice.
    """
    height, width, num_orders = near_HWB.shape
    orders_B = np.arange(num_orders)
    tie_mask = (1 << tables.tie_bits) - 1
    entry_HWB = spread_HWB - tables.unseen  # `spread` at distance 0; below 0 where drawn
    scratch_HWB = np.empty_like(entry_HWB)
    any_near = True
    for chosen_B in chosen_QB:
        best_B = near_HWB.reshape(-1, num_orders).max(axis=0) if any_near else orders_B * 0
        any_near = bool(best_B.any())
        if not best_B.all():
            farthest_B = spread_HWB.reshape(-1, num_orders).max(axis=0)
            best_B = np.where(best_B > 0, best_B, farthest_B)
        chosen_B[:] = cell_of_tie_MB[best_B & tie_mask, orders_B]
        row_B, column_B = np.divmod(chosen_B, width)
        np.add(entry_HWB, tables.row_distance_H2[:, None, row_B], out=scratch_HWB)
        scratch_HWB += tables.column_distance_W2[None, :, column_B]
        np.minimum(spread_HWB, scratch_HWB, out=spread_HWB)
        if any_near:
            row_HB = tables.row_is_far_H2[:, row_B]
            np.bitwise_or(
                row_HB[:, None], tables.column_is_far_W2[None, :, column_B], out=scratch_HWB
            )
            near_HWB &= scratch_HWB
