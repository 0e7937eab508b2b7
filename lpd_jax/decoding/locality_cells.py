"""What cells are worth to the locality-aware order: how much of their neighbourhood is drawn.

A cell's worth to the next choice is one whole number: bit fields, most significant first.

    near    proximity class | tie          of cells that support this group; 0: not one of them
    spread  distance^2 | list place | tie  of every free cell, for farthest-point filling
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding.distance_field import beyond

TIE_ROUNDS = 4  # random words that shuffle the ties of one step


class CellTables(NamedTuple):
    """What depends on the grid and the thresholds only. Built once for many orders."""

    grid: tuple[int, ...]
    repulsion_threshold: int
    # By counts of neighbours, in a picture 5 * straight + diagonal: class + 1, or 0 below
    # the threshold
    near_class: np.ndarray
    list_place: np.ndarray  # ditto: place in the farthest-point list, larger is earlier
    unseen: np.generic  # distance field of `spread` before the group's first cell
    tie_bits: int
    class_bits: int

    @property
    def shift(self) -> int:
        """Bits of `spread` below the distance."""
        return self.class_bits + self.tie_bits


def make_cell_tables(
    grid: tuple[int, ...], proximity_threshold: float, repulsion_threshold: int
) -> CellTables:
    """Tables for `locality_orders`, in the narrowest integers that hold the bit fields."""
    counts = neighbour_counts(len(grid))
    num_classes = math.prod(counts)
    tie_bits, class_bits = max(2, (math.prod(grid) - 1).bit_length()), num_classes.bit_length()
    shift = tie_bits + class_bits
    unseen = beyond(grid)
    near_dtype = np.int16 if shift <= 15 else np.int32
    spread_dtype = np.int32 if shift + unseen.bit_length() <= 31 else np.int64

    drawn = np.array(list(itertools.product(*map(range, counts))))
    # A neighbour along k axes at once is sqrt(k) away.
    proximity = sum(drawn[:, k] / math.sqrt(k + 1) for k in range(len(grid)))
    rank = np.argsort(np.argsort(proximity))
    is_near = proximity >= proximity_threshold - 1e-9
    # Cells below the threshold come first in the farthest-point list, then those set aside.
    list_place = np.argsort(np.argsort(np.where(is_near, rank - num_classes, rank)))
    return CellTables(
        grid,
        repulsion_threshold,
        near_class=(np.where(is_near, rank + 1, 0) << tie_bits).astype(near_dtype),
        list_place=(list_place << tie_bits).astype(spread_dtype),
        unseen=spread_dtype(unseen << shift),
        tie_bits=tie_bits,
        class_bits=class_bits,
    )


def neighbour_counts(num_axes: int) -> tuple[int, ...]:
    """How many values there are for a cell's drawn neighbours along 1, 2, ... axes at once.

    (5, 5) in a picture: 0 to 4 straight and 0 to 4 diagonal ones; (7, 13, 9) in a clip.
    """
    return tuple(math.comb(num_axes, k) * 2**k + 1 for k in range(1, num_axes + 1))


class Cells(NamedTuple):
    """All cells of many orders before a group is chosen."""

    neighbours_BN: np.ndarray  # counts of those drawn, as indices into `CellTables`
    is_free_BN: np.ndarray
    keys_BR: np.ndarray  # uint32, shuffle the ties


def survey_cells(is_drawn: np.ndarray, keys_BR: np.ndarray) -> Cells:
    """What is free, and what is drawn beside.

    Args:
        is_drawn: int8 by order and place along each axis, with a border of blanks.
    """
    itself, *neighbours = count_neighbours(is_drawn)
    values = neighbour_counts(len(neighbours))
    index_dtype = np.int8 if math.prod(values) <= np.iinfo(np.int8).max else np.int16
    index = neighbours[0].astype(index_dtype, copy=False)
    for num_values, drawn in zip(values[1:], neighbours[1:], strict=True):
        index = index * num_values + drawn
    num_orders = len(is_drawn)
    return Cells(index.reshape(num_orders, -1), itself.reshape(num_orders, -1) == 0, keys_BR)


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


def shuffle_ties(keys_BR: np.ndarray, cell_BC: np.ndarray, bits: int) -> np.ndarray:
    """A random rank for every cell, no two alike: uint32 [B, C] below 2^bits.

    Each round (multiply by an odd number, add, xor with the high half) maps `bits`-bit numbers
    one to one, so cells never tie and nothing needs to be sorted.

    Args:
        cell_BC: uint32, raster positions; or [1, C], the same for all.
    """
    mask = np.uint32((1 << bits) - 1)
    tie_BC = cell_BC
    for key_B in keys_BR.T:
        tie_BC = tie_BC * (key_B | np.uint32(1))[:, None]
        tie_BC += (key_B >> np.uint32(16))[:, None]
        tie_BC &= mask
        tie_BC ^= tie_BC >> np.uint32((bits + 1) // 2)
    return tie_BC
