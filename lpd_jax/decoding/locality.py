"""The locality-aware order of LPD: each group near what is drawn, its members far from each other.

Many orders are built at once, one in each row (B), so that one NumPy operation serves all of them.
There are two ways to the same orders, `locality_grids.py` for few and `locality_lists.py` for many.

A grid has two axes, or three with the frames of a clip in front: nothing here asks which. How close
cells of neighbouring frames are is our choice, as close as neighbours in a frame: the paper has
pictures alone.
"""

import functools
import math

import numpy as np

from lpd_jax.decoding import locality_grids, locality_lists
from lpd_jax.decoding.locality_cells import CellTables, survey_cells
from lpd_jax.decoding.schedule import GroupSchedule

CELLS_AT_ONCE = 1 << 18  # cells of all orders in one chunk: larger ones leave the cache
# Orders times tokens^2 up to which grids are faster than lists: 45 orders of 32x32
MOST_ON_GRIDS = 3 << 24


def default_repulsion_threshold(num_tokens: int, num_axes: int = 2) -> int:
    """2 for 256 tokens, 4 for 1024, as published; an eighth of the grid's mean side for others.

    A threshold in proportion to the side keeps the share of the picture that one chosen cell
    blocks. Never below 1 (64 tokens and fewer): with 0, direct neighbours would be drawn together.
    """
    side = round(num_tokens ** (1 / num_axes), 9)  # whole where it is
    return max(1, math.floor(side / 8 + 0.5))


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
    choose_group = locality_lists.choose_group
    if num_orders * num_tokens**2 <= MOST_ON_GRIDS:
        writers = locality_grids.make_writers(tables)
        choose_group = functools.partial(locality_grids.choose_group, writers=writers)
    for step, (start, size) in enumerate(zip(starts, schedule.group_sizes, strict=True)):
        chosen_BQ = order_BN[:, start : start + size]
        choose_group(survey_cells(is_drawn, keys_BSR[:, step]), tables, chosen_BQ=chosen_BQ)
        places = (place_BQ + 1 for place_BQ in np.unravel_index(chosen_BQ, grid))
        is_drawn[(np.arange(num_orders)[:, None], *places)] = 1
    return order_BN
