"""A schedule says how many tokens each decoding step writes.

It fixes shapes, so it is frozen and hashable: a static argument under jit. Which tokens a step
writes is the business of the order (`order.py`). The published lists of LPD (arXiv 2507.01957)
follow a cosine formula with a few hand edits; the edited ones are stored, the rest computed.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from lpd_jax.decoding.grid import MOST_TOKENS
from lpd_jax.runtime.arguments import as_list, as_number, check_whole
from lpd_jax.runtime.errors import UserError, shown

PUBLISHED_NUM_STEPS = {
    256: (256, 128, 64, 32, 24, 20, 16, 12, 8),
    1024: (1024, 512, 256, 224, 192, 160, 128, 96, 80, 64, 56, 48, 40, 32),
}

# (tokens, steps) -> runs of (group size, how many). Only the published lists that the cosine
# formula does not give; each differs from it by a few single tokens.
PUBLISHED_EXCEPTIONS = {
    (256, 128): ((1, 41), (2, 46), (3, 41)),
    (256, 32): (
        *((1, 2), (2, 2), (3, 2), (4, 1), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2)),
        *((10, 3), (11, 4), (12, 8)),
    ),
    (256, 8): ((1, 1), (15, 1), (24, 1), (32, 1), (40, 1), (45, 1), (49, 1), (50, 1)),
    (1024, 512): ((1, 162), (2, 188), (3, 162)),
    (1024, 256): ((1, 39), (2, 28), (3, 31), (4, 34), (5, 44), (6, 80)),
    (1024, 224): ((1, 32), (2, 21), (3, 21), (4, 24), (5, 27), (6, 37), (7, 62)),
}


@dataclasses.dataclass(frozen=True)
class GroupSchedule:
    """How many tokens each decoding step generates. Hashable, so static under jit.

    Raises:
        UserError: a group is empty, or a size is not a whole number.
    """

    group_sizes: tuple[int, ...]

    def __post_init__(self):
        allowed = "are whole numbers from 1, one for each step"
        given = as_list("group_sizes", self.group_sizes, allowed)
        if not 1 <= len(given) <= MOST_TOKENS:
            raise UserError(f"group_sizes: got {shown(self.group_sizes)}, allowed {allowed}")
        sizes = tuple(check_whole(f"group_sizes[{i}]", size, 1) for i, size in enumerate(given))
        object.__setattr__(self, "group_sizes", sizes)  # plain ints, whatever came in

    @property
    def num_tokens(self) -> int:
        return sum(self.group_sizes)

    @property
    def num_steps(self) -> int:
        return len(self.group_sizes)

    @property
    def group_starts(self) -> tuple[int, ...]:
        """Rank of the first token of each group: (0, 1, 3) for sizes (1, 2, 1)."""
        return (0, *itertools.accumulate(self.group_sizes))[:-1]

    def group_of_rank(self) -> np.ndarray:
        """int32 [N]: the step that writes each rank, [0, 1, 1, 2] for sizes (1, 2, 1)."""
        return np.repeat(np.arange(self.num_steps, dtype=np.int32), self.group_sizes)


def published_group_sizes(num_tokens: int) -> dict[int, tuple[int, ...]]:
    """The published lists for this many tokens, by number of steps; {} when there are none."""
    num_tokens = check_num_tokens(num_tokens)
    lists = {}
    for num_steps in PUBLISHED_NUM_STEPS.get(num_tokens, ()):
        if runs := PUBLISHED_EXCEPTIONS.get((num_tokens, num_steps)):
            lists[num_steps] = tuple(size for size, count in runs for _ in range(count))
        else:
            lists[num_steps] = cosine_group_sizes(num_tokens, num_steps)
    return lists


def cosine_group_sizes(num_tokens: int, num_steps: int) -> tuple[int, ...]:
    """Group sizes that grow along a cosine, as in most of LPD's published lists.

    Step t of T ends at N (1 - cos(pi t / 2T)) tokens; the differences are rounded to at least 1,
    the first is set to 1, the last takes what is left, and the list is sorted: (1, 3, 5, 7) for
    16 tokens in 4 steps.

    Raises:
        UserError: num_tokens below 1, or num_steps outside 1..num_tokens.
    """
    check_num_steps(num_tokens, num_steps)
    return _cosine_group_sizes(int(num_tokens), int(num_steps))


@functools.cache
def _cosine_group_sizes(num_tokens: int, num_steps: int) -> tuple[int, ...]:
    ends = [num_tokens * math.cos(math.pi * t / (2 * num_steps)) for t in range(num_steps + 1)]
    sizes = [max(1, round(start - end)) for start, end in itertools.pairwise(ends)]
    sizes[0] = 1
    residual = num_tokens - sum(sizes)
    for i in reversed(range(num_steps)):
        size = max(1, sizes[i] + residual)
        residual -= size - sizes[i]
        sizes[i] = size
        if residual == 0:
            break
    return tuple(sorted(sizes))


def check_num_tokens(num_tokens: int) -> int:
    """The number as an int; UserError for no tokens, and for more than a grid may have."""
    least = check_whole("num_tokens", num_tokens, 1)
    return check_whole("num_tokens", least, 1, MOST_TOKENS)


def check_num_steps(num_tokens: int, num_steps: int) -> None:
    """Raises UserError for no tokens, or for more steps than there are tokens."""
    check_whole("num_steps", num_steps, 1, check_num_tokens(num_tokens))


def default_num_steps(num_tokens: int) -> int:
    """Steps when nobody says: 20 for 256 tokens, 48 for 1024 (the published settings).

    Other sizes follow the power of N through those two points, about N^0.63: 8 steps for 64
    tokens, 115 for 4096.
    """
    exponent = math.log(48 / 20) / math.log(1024 / 256)
    return min(num_tokens, max(1, round(20 * (num_tokens / 256) ** exponent)))


def make_schedule(
    num_tokens: int, num_steps: int | None = None, group_sizes: Sequence[int] | None = None
) -> GroupSchedule:
    """The schedule for an image of `num_tokens` tokens.

    `group_sizes` wins when given; otherwise the published list for (num_tokens, num_steps), or
    the cosine formula where none is published. Without either, `default_num_steps`.

    Raises:
        UserError: steps outside 1..num_tokens, sizes that do not sum to num_tokens, or
            num_steps and group_sizes that disagree.
    """
    num_tokens = check_num_tokens(num_tokens)
    if group_sizes is not None:
        schedule = GroupSchedule(group_sizes)  # type: ignore[arg-type]  # it makes a tuple
        if schedule.num_tokens != num_tokens:
            raise UserError(
                f"group_sizes: got a sum of {schedule.num_tokens}, allowed is the number of "
                f"tokens, {num_tokens}"
            )
        if num_steps is not None and as_number(num_steps) != schedule.num_steps:
            raise UserError(
                f"num_steps: got {shown(num_steps)}, allowed is the length of group_sizes, "
                f"{schedule.num_steps}; or leave it out"
            )
        return schedule
    if num_steps is None:
        num_steps = default_num_steps(num_tokens)
    num_steps = check_whole("num_steps", num_steps, 1, num_tokens)
    published = published_group_sizes(num_tokens)
    return GroupSchedule(published.get(num_steps) or cosine_group_sizes(num_tokens, num_steps))


def training_schedules(num_tokens: int) -> tuple[GroupSchedule, ...]:
    """The schedules that training draws from, one per step: most steps first.

    The 9 published lists for 256 tokens, the 14 for 1024. Any other size takes cosine lists at
    the same nine fractions of its tokens as 256 has: 64 tokens in 64, 32, 16, 8, 6, 5, 4, 3
    and 2 steps.
    """
    num_tokens = check_num_tokens(num_tokens)
    if published := published_group_sizes(num_tokens):
        return tuple(map(GroupSchedule, published.values()))
    fewest = min(2, num_tokens)  # one step would predict the image without seeing any of it
    steps = {max(fewest, round(num_tokens * t / 256)) for t in PUBLISHED_NUM_STEPS[256]}
    lists = (cosine_group_sizes(num_tokens, t) for t in sorted(steps, reverse=True))
    return tuple(map(GroupSchedule, lists))
