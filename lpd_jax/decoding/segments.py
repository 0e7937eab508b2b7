"""A schedule cut into scans, each as wide as its widest step, as the device likes their sizes.

Letters: B images, K known tokens, S steps.
"""

import dataclasses
import itertools
import math
from typing import NamedTuple

import jax
import numpy as np

from lpd_jax.decoding import step_table
from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import (
    RowStrips,
    Segment,
    StepTable,
    make_segment,
    make_segments,
    make_step_table,
)
from lpd_jax.runtime.errors import UserError

# A scan that grows its cache is cut into so many parts, of so many steps: each is compiled.
LEAST_STEPS, MOST_PARTS = 32, 4


class Known(NamedTuple):
    """Tokens that are there before the first step, and the steps that draw the rest.

    All of it is data, so that another mask does not recompile. Only two limits are static: how
    many tokens may be known, and how many each step may draw (the schedule).
    """

    tokens_BK: jax.Array | np.ndarray  # of the first ranks; padding where fewer are known
    table: StepTable  # int32 [S] each


def cut_schedule(
    schedule: GroupSchedule,
    num_segments: int | None,
    num_tokens: int,
    known: Known | None,
    strips: RowStrips,
    pad_queries: bool,
    unseen_slots: float = math.inf,
) -> tuple[Segment, ...]:
    """The scans that draw a schedule, one after another, with room for their rows.

    Args:
        num_segments: at most so many, and one more with known tokens. None is
            `step_table.NUM_SEGMENTS`.
        num_tokens: of an image.
        known: tokens that are there before the first step.
        strips: in which the device computes rows.
        pad_queries: whether the model takes more queries than a step draws.
        unseen_slots: a long scan is cut again, if its steps read more that none of them looks at.

    Raises:
        UserError: another number of tokens than the image has, no room for those that are not
            known, or less than one segment.
    """
    if num_segments is None:
        num_segments = step_table.NUM_SEGMENTS
    segments = checked_segments(schedule, num_segments, num_tokens, known, strips)
    if known is None:
        segments = in_parts(segments, schedule, unseen_slots)
    return with_room(segments, schedule, known, pad_queries)


def checked_segments(
    schedule: GroupSchedule,
    num_segments: int,
    num_tokens: int,
    known: Known | None,
    strips: RowStrips,
) -> tuple[Segment, ...]:
    """The scans; with known tokens one more, for the step that feeds them."""
    if known is not None:
        most_known, num_steps = known.tokens_BK.shape[1], len(known.table.query_start_S)
        if num_steps != schedule.num_steps or most_known + schedule.num_tokens < num_tokens:
            raise UserError(
                f"known: got {num_steps} steps after at most {most_known} tokens, allowed are the "
                f"schedule's {schedule.num_steps}, which draw at most {schedule.num_tokens} of "
                f"{num_tokens} tokens"
            )
        return make_segments(schedule, num_segments + 1, most_known, strips)
    if schedule.num_tokens != num_tokens:
        raise UserError(
            f"schedule: got group sizes that sum to {schedule.num_tokens}, allowed is the "
            f"{num_tokens} tokens of the order"
        )
    return make_segments(schedule, num_segments, strips=strips)


def in_parts(
    segments: tuple[Segment, ...], schedule: GroupSchedule, unseen_slots: float
) -> tuple[Segment, ...]:
    """The same, long scans over a large cache in parts, which each grow it.

    In every step a scan reads all slots that its last step sees.
    """
    parts: list[Segment] = []
    for one in segments:
        count = num_parts(one, schedule, unseen_slots)
        cuts = [one.first_step + i * one.num_steps // count for i in range(count + 1)]
        for first, end in itertools.pairwise(cuts):
            parts.append(make_segment(schedule, first, end, parts[-1].num_slots if parts else 0))
    return tuple(parts)


def num_parts(segment: Segment, schedule: GroupSchedule, unseen_slots: float) -> int:
    """How many scans a segment is worth."""
    steps = slice(segment.first_step, segment.first_step + segment.num_steps)
    seen_S = make_step_table(schedule).query_end_S[steps]
    unseen = int((segment.num_slots - seen_S).sum())
    count = min(MOST_PARTS, segment.num_steps // LEAST_STEPS, math.ceil(unseen / unseen_slots))
    return max(1, count)


def with_room(
    segments: tuple[Segment, ...],
    schedule: GroupSchedule,
    known: Known | None,
    pad_queries: bool = False,
) -> tuple[Segment, ...]:
    """Segments with as many slots as the device likes a cache to have, and as many rows."""
    choices, num_slots, roomy = device_choices(), 0, []
    starts_S = make_step_table(schedule).previous_start_S
    for one in segments:
        padding = -(one.previous_width + one.query_width) % choices.row_multiple * pad_queries
        one = dataclasses.replace(one, query_width=one.query_width + padding)
        needed = one.num_slots + padding
        if choices.one_write:
            # All rows of the last step; where it begins is data if tokens are known.
            last = int(starts_S[one.first_step + one.num_steps - 1])
            if known is not None:
                last = known.tokens_BK.shape[1] + schedule.num_tokens + 1
            needed = max(needed, last + one.previous_width + one.query_width)
        num_slots = max(num_slots, choices.padded(needed))
        roomy.append(dataclasses.replace(one, num_slots=num_slots))
    return tuple(roomy)
