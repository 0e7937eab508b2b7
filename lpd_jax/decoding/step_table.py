"""Who sees whom: one rule over (kind, group), seen as the training mask and as decoding steps.

Slot 0 holds the class token, slot r + 1 the token of generation rank r. A decoding step feeds the
previous group's tokens into their slots and asks for the next group with position query tokens,
which borrow the slots that their tokens take one step later (LPD, arXiv 2507.01957, section 3.1).
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.runtime.arguments import check_whole

# Scans of a schedule where nobody says. Measured with LPD-L, 20 steps of 256 tokens, guided. On two
# CPU cores 2, 3, 4, 6 scans take 4, 7, 9, 14 s to compile, then 3.4, 3.2, 3.0, 2.9 s for a picture
# and 10.2, 9.8, 9.3, 8.5 s for four. On an H100 a picture takes 26.0, 25.0, 23.7 ms in 1, 2, 4
# scans, 64 of them 212 ms in one and 160 ms in four.
NUM_SEGMENTS = 4


class StepTable(NamedTuple):
    """One row per decoding step of a segment, all as wide as its widest.

    group_sizes (1, 2, 1), one segment:   previous_start  query_start  query_end
                                 step 0   0               1            2
                                 step 1   1               2            4
                                 step 2   2               4            5

    The previous group's tokens are slots [previous_start, query_start), the queries
    [query_start, query_end); both see all slots before their own end, so a group sees itself.
    Tokens that are known beforehand are fed by step 0, as a group of their own after the class.
    """

    previous_start_S: np.ndarray
    query_start_S: np.ndarray
    query_end_S: np.ndarray


@dataclasses.dataclass(frozen=True)
class Segment:
    """Consecutive decoding steps that run as one scan, padded to their widest."""

    first_step: int
    num_steps: int
    previous_width: int
    query_width: int
    num_slots: int  # of the cache: as many as its widest rows reach, padding included
    prefills: bool = False  # its first step feeds known tokens beside the class


def make_step_table(schedule: GroupSchedule, num_known: int = 0) -> StepTable:
    """The table of a whole schedule that begins after `num_known` tokens, int32 `[S]` each."""
    return table_of_sizes(schedule.group_sizes, num_known)


def table_of_sizes(group_sizes: Sequence[int], num_known: int = 0) -> StepTable:
    """The same for any group sizes, 0 among them: such a step writes nothing."""
    query_end = 1 + num_known + np.cumsum(group_sizes, dtype=np.int32)
    query_start = query_end - np.array(group_sizes, np.int32)
    previous_start = np.concatenate([[0], query_start[:-1]]).astype(np.int32)
    return StepTable(previous_start, query_start, query_end)


class RowStrips(NamedTuple):
    """Rows of a product that take as long as the next multiple of `size` would.

    rows_of_slot: what a slot of an image has in the whole batch; twice the images under guidance.
    """

    size: int = 1
    rows_of_slot: int = 1

    def cost(self, widths: np.ndarray) -> np.ndarray:
        """Of passes so wide, in rows; between equal numbers of strips, fewer rows are better."""
        rows = widths * self.rows_of_slot
        return -(-rows // self.size) * self.size + rows / 16


@functools.lru_cache(maxsize=256)
def make_segments(
    schedule: GroupSchedule,
    num_segments: int,
    num_known: int = 0,
    strips: RowStrips = RowStrips(),  # noqa: B008 - it is a value
) -> tuple[Segment, ...]:
    """Cuts a schedule into at most `num_segments` scans with the fewest padded rows.

    Dynamic programming over cuts; a scan of n steps costs n x (previous + query width) rows.

    Args:
        num_known: the most tokens that the first step feeds beside the class.
        strips: in which the device computes rows.

    Raises:
        UserError: fewer than one segment.
    """
    check_whole("num_segments", num_segments, 1)
    previous = np.array([1 + num_known, *schedule.group_sizes[:-1]])
    query = np.array(schedule.group_sizes)
    steps = schedule.num_steps
    # cost[first, last]: rows of one scan over steps first..last.
    cost = np.full((steps, steps), np.inf)
    for first in range(steps):
        widths = np.maximum.accumulate(previous[first:]) + np.maximum.accumulate(query[first:])
        cost[first, first:] = strips.cost(widths) * np.arange(1, steps - first + 1)
    # best[last]: rows of the best scans over steps 0..last; a list for each segment allowed more.
    best, last_firsts = cost[0], []
    for _ in range(min(num_segments, steps) - 1):
        # The last segment begins at step `first`; row 0: one segment less is no worse.
        joined = np.concatenate([best[None], best[:-1, None] + cost[1:]])
        last_firsts.append(joined.argmin(0))
        best = joined.min(0)
    cuts = [steps]
    for last_first in reversed(last_firsts):
        if first := int(last_first[cuts[0] - 1]):
            cuts.insert(0, first)
    segments: list[Segment] = []
    for first, end in itertools.pairwise([0, *cuts]):
        least = segments[-1].num_slots if segments else 0  # a cache grows, and never shrinks
        segments.append(make_segment(schedule, first, end, least, num_known))
    return tuple(segments)


def make_segment(
    schedule: GroupSchedule, first: int, end: int, least_slots: int = 0, num_known: int = 0
) -> Segment:
    """One scan over the steps from `first` to before `end`."""
    previous_width = max((1 + num_known, *schedule.group_sizes[:-1])[first:end])
    query_width = max(schedule.group_sizes[first:end])
    # The last step of a segment starts last, so its rows reach furthest.
    table = make_step_table(schedule, num_known)
    previous_end = int(table.previous_start_S[end - 1]) + previous_width
    query_end = int(table.query_start_S[end - 1]) + query_width
    num_slots = max(previous_end, query_end, least_slots)
    prefills = num_known > 0 and first == 0
    return Segment(first, end - first, previous_width, query_width, num_slots, prefills)


def padded_rows(segments: tuple[Segment, ...]) -> int:
    """Rows that go through the model over all segments."""
    return sum(s.num_steps * (s.previous_width + s.query_width) for s in segments)


def decoding_mask(segment: Segment, row: StepTable) -> jax.Array:
    """What the rows of one step see, bool `[previous + query rows, slots]`.

    Rows of padding see what real rows of their kind see, so that no softmax is empty.
    """
    previous_start, query_start, query_end = row
    slots_M = jnp.arange(segment.num_slots)
    ends_P = jnp.broadcast_to(query_start, segment.previous_width)
    if segment.prefills:
        # The class is no member of the group that is fed with it, and sees itself alone.
        is_class_P = previous_start + jnp.arange(segment.previous_width) == 0
        ends_P = jnp.where(is_class_P, 1, ends_P)
    ends_T = jnp.concatenate([ends_P, jnp.broadcast_to(query_end, segment.query_width)])
    return slots_M[None] < ends_T[:, None]


def causal_group_mask(schedule: GroupSchedule) -> np.ndarray:
    """What the slots see where slot k predicts rank k itself (PAR), bool `[N, N]`.

    All slots before the end of their own group: single tokens are causal, a group sees itself.
    """
    sizes = np.array(schedule.group_sizes)
    ends_N = np.repeat(np.cumsum(sizes), sizes)
    return np.arange(schedule.num_tokens)[None] < ends_N[:, None]


def teacher_forcing_mask(group_N: jax.Array) -> jax.Array:
    """What the 2N rows of a training pass see, bool `[2N, 2N]`, or `[B, 2N, 2N]` of each image.

    Rows are the class token, the tokens of ranks 0 to N - 2, and N position query tokens. A row
    sees a key when both are in one group of one kind, or the key is context of an earlier group.

    Args:
        group_N: the decoding step that writes each rank, or `[B, N]` that of each image; data, so
            that schedules share one compilation.
    """
    if jnp.ndim(group_N) > 1:
        return jax.vmap(teacher_forcing_mask)(group_N)
    # The class token is context of a group of its own, before all others.
    group_N = jnp.asarray(group_N, jnp.int32)
    context_N = jnp.pad(group_N[:-1], (1, 0), constant_values=-1)
    group_T = jnp.concatenate([context_N, group_N])
    is_query_T = jnp.arange(2 * len(group_N)) >= len(group_N)
    same = (group_T[:, None] == group_T[None]) & (is_query_T[:, None] == is_query_T[None])
    earlier_context = (group_T[None] < group_T[:, None]) & ~is_query_T[None]
    return same | earlier_context
