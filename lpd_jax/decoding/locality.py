"""The locality-aware order of LPD: each group near what is drawn, its members far from each other.

Many orders are built at once, one in each row (B), so that one NumPy operation serves all of them.
What a cell is worth to the next choice is one whole number, compared by `argmax`: bit fields, most
significant first.

    near_BN    proximity class | tie         only cells that support this group; 0: not one of them
    spread_BN  distance^2 | list place | tie every free cell, for farthest-point filling

Choosing a cell clears every `near` within the repulsion threshold and lowers every `spread` to the
distance from the cell. The next cell is the largest `near`; where none is left, the largest
`spread`.

A grid has two axes, or three with the frames of a clip in front: nothing here asks which. How close
cells of neighbouring frames are is our choice, as close as neighbours in a frame: the paper has
pictures alone.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule

TIE_ROUNDS = 4  # random words that shuffle the ties of one step
CELLS_AT_ONCE = 1 << 17  # cells of all orders in one chunk: larger ones leave the cache
LARGEST_TABLE = 2048  # tokens up to which distances come from an [N, N] table


def default_repulsion_threshold(num_tokens: int, num_axes: int = 2) -> int:
    """2 for 256 tokens, 4 for 1024, as published; an eighth of the grid's mean side for others.

    A threshold in proportion to the side keeps the share of the picture that one chosen cell
    blocks. Never below 1 (64 tokens and fewer): with 0, direct neighbours would be drawn together.
    """
    side = round(num_tokens ** (1 / num_axes), 9)  # whole where it is
    return max(1, math.floor(side / 8 + 0.5))


def neighbour_counts(num_axes: int) -> tuple[int, ...]:
    """How many values there are for a cell's drawn neighbours along 1, 2, ... axes at once.

    (5, 5) in a picture: 0 to 4 straight and 0 to 4 diagonal ones; (7, 13, 9) in a clip.
    """
    return tuple(math.comb(num_axes, k) * 2**k + 1 for k in range(1, num_axes + 1))


class CellTables(NamedTuple):
    """What depends on the grid and the thresholds only. Built once for many orders."""

    # By counts of neighbours, in a picture 5 * straight + diagonal: class + 1, or 0 below
    # the threshold
    near_class: np.ndarray
    list_place: np.ndarray  # ditto: place in the farthest-point list, larger is earlier
    unseen: np.generic  # distance field of `spread` before the group's first cell
    tie_bits: int
    write_distance: Callable  # (cell_B, out_BN): distance^2 of every cell from cell_B, shifted
    write_is_far: Callable  # (cell_B, out_BN): all bits set beyond the repulsion threshold


def make_cell_tables(
    grid: tuple[int, ...], proximity_threshold: float, repulsion_threshold: int
) -> CellTables:
    """Tables for `locality_orders`, in the narrowest integers that hold the bit fields."""
    counts = neighbour_counts(len(grid))
    num_classes = math.prod(counts)
    tie_bits = max(2, (math.prod(grid) - 1).bit_length())
    shift = tie_bits + num_classes.bit_length()
    unseen = sum((side - 1) ** 2 for side in grid) + 1
    near_dtype = np.int16 if shift <= 15 else np.int32
    spread_dtype = np.int32 if shift + unseen.bit_length() <= 31 else np.int64

    drawn = np.array(list(itertools.product(*map(range, counts))))
    # A neighbour along k axes at once is sqrt(k) away.
    proximity = sum(drawn[:, k] / math.sqrt(k + 1) for k in range(len(grid)))
    rank = np.argsort(np.argsort(proximity))
    is_near = proximity >= proximity_threshold - 1e-9
    # Cells below the threshold come first in the farthest-point list, then those set aside.
    list_place = np.argsort(np.argsort(np.where(is_near, rank - num_classes, rank)))

    apart = [np.abs(np.arange(side)[:, None] - np.arange(side)[None]) for side in grid]
    squares = [(steps**2 << shift).astype(spread_dtype) for steps in apart]
    is_far = [np.where(steps > repulsion_threshold, -1, 0).astype(near_dtype) for steps in apart]
    return CellTables(
        near_class=(np.where(is_near, rank + 1, 0) << tie_bits).astype(near_dtype),
        list_place=(list_place << tie_bits).astype(spread_dtype),
        unseen=spread_dtype(unseen << shift),
        tie_bits=tie_bits,
        write_distance=make_pair_writer(squares, np.add),
        write_is_far=make_pair_writer(is_far, np.bitwise_or),
    )


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


def locality_orders(
    grid: tuple[int, ...],
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
    num_orders, num_tokens = keys_BSR.shape[0], math.prod(grid)
    order_BN = np.empty((num_orders, schedule.num_tokens), np.int32)
    # By place along each axis, with a border of blanks.
    is_drawn = np.zeros((num_orders, *(side + 2 for side in grid)), np.int8)
    if drawn_BN is not None:
        inside = (slice(None), *[slice(1, -1)] * len(grid))
        is_drawn[inside] = drawn_BN.reshape(-1, *grid)
    starts = schedule.group_starts
    for step, (start, size) in enumerate(zip(starts, schedule.group_sizes, strict=True)):
        tie_BN = shuffle_ties(keys_BSR[:, step], num_tokens, tables.tie_bits)
        near_BN, spread_BN = rank_cells(is_drawn, tie_BN, tables)
        chosen_BQ = order_BN[:, start : start + size]
        choose_group(near_BN, spread_BN, tables, chosen_BQ)
        places = (place_BQ + 1 for place_BQ in np.unravel_index(chosen_BQ, grid))
        is_drawn[(np.arange(num_orders)[:, None], *places)] = 1
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
    is_drawn: np.ndarray, tie_BN: np.ndarray, tables: CellTables
) -> tuple[np.ndarray, np.ndarray]:
    """`near` and `spread` of the module's docstring at the start of a group, [B, N] each."""
    itself, *neighbours = count_neighbours(is_drawn)
    values = neighbour_counts(len(neighbours))
    index_dtype = np.int8 if math.prod(values) <= np.iinfo(np.int8).max else np.int16
    index = neighbours[0].astype(index_dtype, copy=False)
    for num_values, drawn in zip(values[1:], neighbours[1:], strict=True):
        index = index * num_values + drawn
    neighbours_BN = index.reshape(tie_BN.shape)
    is_free_BN = itself.reshape(tie_BN.shape) == 0
    near_BN = tables.near_class[neighbours_BN]
    near_BN += tie_BN.astype(near_BN.dtype)
    near_BN *= is_free_BN & (tables.near_class > 0)[neighbours_BN]
    spread_BN = tables.list_place[neighbours_BN]
    spread_BN += tie_BN.astype(spread_BN.dtype)
    spread_BN += tables.unseen
    spread_BN *= is_free_BN
    return near_BN, spread_BN


def count_neighbours(is_drawn: np.ndarray) -> list[np.ndarray]:
    """How many neighbours of each cell are drawn that lie along 0, 1, 2, ... axes at once.

    Those along 0 axes are the cell itself. Axis by axis, sums of both sides are made of sums.

    Args:
        is_drawn: by order and place along each axis, with a border.
    """
    sums = [is_drawn]
    for axis in range(is_drawn.ndim - 1, 0, -1):
        before, here, after = (
            (*[slice(None)] * axis, part)
            for part in (slice(None, -2), slice(1, -1), slice(2, None))
        )
        kept = [x[here] for x in sums]
        moved = [x[before] + x[after] for x in sums]
        sums = [kept[0], *map(np.add, kept[1:], moved[:-1]), moved[-1]]
    return sums


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
