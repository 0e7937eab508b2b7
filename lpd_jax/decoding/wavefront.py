"""Rows that overlap: a model of raster order draws a row before the one above is done.

ZipAR (arXiv 2412.04062) needs no training: what lies far off on the row above matters little to a
token. As in its released code, the first row is drawn whole, then the second begins, and each row
after it once the row above has `window` tokens. All rows that have begun grow by a token a step.
The rows of a clip are those of its frames, one frame below another.
Letters: N tokens, H rows, W tokens a row.
"""

import functools
import math

import numpy as np

from lpd_jax.decoding.grid import check_grid
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.runtime.arguments import check_whole


@functools.lru_cache(maxsize=256)
def step_of_cell(grid: tuple[int, ...], window: int) -> np.ndarray:
    """The step that draws each cell, int `[N]` in raster order.

    Args:
        grid: (height, width), or (frames, height, width).
        window: tokens of a row that are there before the next row begins, 1 to W; W is raster
            order, a token a step.
    """
    *_, width = grid = check_grid(grid)
    check_whole("window", window, 1, width)
    rows, columns = np.divmod(np.arange(math.prod(grid)), width)
    return np.where(rows > 1, width + (rows - 1) * window, rows * width) + columns


def wavefront_order(grid: tuple[int, ...], window: int) -> np.ndarray:
    """Rank -> raster position, int32 `[N]`: step by step, in each step the upper rows first."""
    return np.argsort(step_of_cell(grid, window), kind="stable").astype(np.int32)


def wavefront_schedule(grid: tuple[int, ...], window: int) -> GroupSchedule:
    """Tokens of each step: 2W + (H - 2) x window steps where there are two rows or more."""
    return GroupSchedule(tuple(np.bincount(step_of_cell(grid, window)).tolist()))


@functools.lru_cache(maxsize=64)
def windows_by_steps(grid: tuple[int, ...]) -> dict[int, int]:
    """Number of steps -> window, the narrowest first; of windows that change nothing the widest."""
    *rows, width = grid
    height = math.prod(rows)
    num_steps = (
        height * width if height <= 2 else 2 * width + (height - 2) * s for s in range(1, width + 1)
    )
    return dict(zip(num_steps, range(1, width + 1), strict=True))


def window_of(grid: tuple[int, ...], schedule: GroupSchedule) -> int | None:
    """The window of a schedule; None: it is none of these."""
    window = windows_by_steps(grid).get(schedule.num_steps)
    if schedule.num_tokens != math.prod(grid) or window is None:
        return None
    return window if wavefront_schedule(grid, window) == schedule else None
