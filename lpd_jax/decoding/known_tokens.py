"""Editing is decoding that begins late: known tokens come first, the rest follow.

Known tokens are one group: the first step feeds all of them beside the class, and they see each
other. To feed them in groups of 8 to 48, as in training, makes the rest no likelier (0.005 nats a
token at most; bundled model, four masks).

What depends on the mask is data: the order, how many tokens are known, how many each step draws.
Shapes are the same for a whole range of known counts, so that masks share compilations.
Letters: B images, N tokens per image.
"""

import functools
from typing import NamedTuple

import numpy as np

from lpd_jax.decoding import locality, locality_cells
from lpd_jax.decoding.order import check_thresholds, random_words, split_words
from lpd_jax.decoding.schedule import (
    GroupSchedule,
    check_num_steps,
    cosine_group_sizes,
    default_num_steps,
)
from lpd_jax.decoding.step_table import StepTable, table_of_sizes
from lpd_jax.runtime.arguments import check_whole

NUM_RANGES = 8  # how many ranges there are of known counts; each is one compilation


class Frame(NamedTuple):
    """The shapes of an edit, shared by all masks whose known count is in one range."""

    most_known: int
    num_steps: int
    schedule: GroupSchedule  # each step as wide as any count of the range makes it


def make_frame(num_tokens: int, num_known: int, whole_steps: int) -> Frame:
    """The frame of the range that `num_known` is in; a range is an eighth of the picture wide.

    Args:
        num_known: 1 to num_tokens - 1.
        whole_steps: steps that the whole picture would be drawn in.

    Raises:
        UserError: a number out of range.
    """
    check_num_steps(num_tokens, whole_steps)
    check_whole("num_known", num_known, 1, num_tokens - 1)
    width = -(-num_tokens // NUM_RANGES)
    range_index = (num_known - 1) // width
    return range_frame(num_tokens, range_index * width + 1, width, whole_steps)


@functools.lru_cache(maxsize=256)
def range_frame(num_tokens: int, least_known: int, width: int, whole_steps: int) -> Frame:
    """The frame of all known counts from `least_known` to before `least_known + width`."""
    most_left = num_tokens - least_known
    least_left = max(1, most_left - width + 1)
    num_steps = share_of_steps(num_tokens, most_left, whole_steps)
    sizes = [step_sizes(left, num_steps) for left in range(least_left, most_left + 1)]
    widest = GroupSchedule(tuple(max(1, *column) for column in zip(*sizes, strict=True)))
    return Frame(num_tokens - least_left, num_steps, widest)


def share_of_steps(num_tokens: int, num_left: int, whole_steps: int) -> int:
    """How many of a whole picture's steps an edit takes.

    Steps grow with tokens as in the published settings (`default_num_steps`): a quarter of the
    picture takes 0.42 of the steps. One token a step stays one token a step.
    """
    share = default_num_steps(num_left) / default_num_steps(num_tokens)
    fewest = -(-num_left * whole_steps // num_tokens)  # never larger groups on average
    return min(num_left, max(fewest, round(whole_steps * share)))


def step_sizes(num_left: int, num_steps: int) -> tuple[int, ...]:
    """Tokens of each step, along the cosine; with fewer tokens than steps, the first draw none."""
    steps = min(num_steps, num_left)
    return (0,) * (num_steps - steps) + cosine_group_sizes(num_left, steps)


def left_schedule(num_left: int, frame: Frame) -> GroupSchedule:
    """The schedule of the tokens left, without the steps that draw none."""
    return GroupSchedule(tuple(filter(None, step_sizes(num_left, frame.num_steps))))


def frame_table(num_tokens: int, num_known: int, frame: Frame) -> StepTable:
    """The step table of an edit; all edits of one frame have as many steps."""
    return table_of_sizes(step_sizes(num_tokens - num_known, frame.num_steps), num_known)


def known_first(order_BN: np.ndarray, known_BN: np.ndarray) -> np.ndarray:
    """The same orders with the known positions in front.

    Args:
        order_BN: rank -> raster position.
        known_BN: bool by raster position.
    """
    is_left_BN = ~np.take_along_axis(known_BN, order_BN, axis=1)
    ranks_BN = np.argsort(is_left_BN, axis=1, kind="stable")
    return np.take_along_axis(order_BN, ranks_BN, axis=1)


def locality_order_of_rest(
    grid: tuple[int, ...],
    schedule: GroupSchedule,
    known_BN: np.ndarray,
    index_B: np.ndarray,
    *,
    seed: int = 0,
    proximity_threshold: float = 1.0,
    repulsion_threshold: int | None = None,
) -> np.ndarray:
    """LPD's order of the positions that are not known; the known ones count as drawn already.

    Args:
        schedule: of the tokens left, as many in every image.
        known_BN: bool by raster position.
        index_B: number of each image: order i depends on (seed, i) and on what is known.

    Returns:
        int32 `[B, tokens left]`.
    """
    num_tokens = known_BN.shape[1]
    thresholds = check_thresholds(num_tokens, proximity_threshold, repulsion_threshold, len(grid))
    tables = locality_cells.make_cell_tables(grid, *thresholds)
    words = [random_words(seed, "locality", i, 1, 2 * schedule.num_steps) for i in index_B.tolist()]
    keys_BK = split_words(np.concatenate(words))
    keys_BSR = keys_BK.reshape(len(index_B), schedule.num_steps, locality_cells.TIE_ROUNDS)
    return locality.locality_orders(grid, schedule, tables, keys_BSR, known_BN)
