import json
import pathlib

import numpy as np
import pytest

from lpd_jax.decoding.schedule import (
    GroupSchedule,
    cosine_group_sizes,
    default_num_steps,
    make_schedule,
    published_group_sizes,
    training_schedules,
)
from lpd_jax.runtime.errors import UserError

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


# The lists are LPD's published ones: they change only if its authors publish others.
@pytest.mark.parametrize(("num_tokens", "num_lists"), [(256, 9), (1024, 14)])
def test_published_lists_are_exact(num_tokens, num_lists):
    golden = json.loads((GOLDEN / "group_sizes.json").read_text())[str(num_tokens)]
    published = published_group_sizes(num_tokens)
    assert len(golden) == num_lists
    assert [str(steps) for steps in published] == list(golden)
    for steps, sizes in published.items():
        assert list(sizes) == golden[str(steps)]
        assert make_schedule(num_tokens, steps).group_sizes == sizes
    assert [s.num_steps for s in training_schedules(num_tokens)] == list(published)


def test_the_published_formula_by_hand():
    # 16 (cos((t-1) pi/8) - cos(t pi/8)) = 1.22 3.47 5.19 6.12, the first set to 1, 1 left over
    assert cosine_group_sizes(16, 4) == (1, 3, 5, 7)
    assert cosine_group_sizes(16, 1) == (16,)
    assert published_group_sizes(16) == {}
    assert make_schedule(16, 4).group_sizes == (1, 3, 5, 7)


def test_the_formula_departs_from_the_published_list_where_documented():
    assert cosine_group_sizes(256, 8) == (1, 15, 24, 32, 39, 44, 48, 53)
    assert make_schedule(256, 8).group_sizes == (1, 15, 24, 32, 40, 45, 49, 50)


def test_cosine_lists_sum_grow_and_never_skip_a_step():
    for num_tokens in (1, 2, 15, 60, 144):
        for num_steps in range(1, num_tokens + 1):
            sizes = cosine_group_sizes(num_tokens, num_steps)
            assert sum(sizes) == num_tokens and len(sizes) == num_steps
            assert min(sizes) >= 1 and list(sizes) == sorted(sizes)


def test_default_steps():
    assert (default_num_steps(256), default_num_steps(1024)) == (20, 48)
    assert [default_num_steps(n) for n in (1, 16, 64, 4096)] == [1, 3, 8, 115]
    assert make_schedule(256).num_steps == 20


def test_training_schedules_of_other_sizes():
    assert [s.num_steps for s in training_schedules(64)] == [64, 32, 16, 8, 6, 5, 4, 3, 2]
    assert [s.group_sizes for s in training_schedules(1)] == [(1,)]
    for num_tokens in (2, 16, 300):
        assert all(s.num_tokens == num_tokens for s in training_schedules(num_tokens))


def test_schedule_views():
    schedule = GroupSchedule((1, 2, 1))
    assert (schedule.num_tokens, schedule.num_steps) == (4, 3)
    assert schedule.group_starts == (0, 1, 3)
    groups_N = schedule.group_of_rank()
    assert groups_N.dtype == np.int32 and groups_N.tolist() == [0, 1, 1, 2]


def test_schedule_is_a_static_argument_whatever_it_was_made_from():
    made = [make_schedule(4, group_sizes=sizes) for sizes in ([1, 3], (1, 3), np.array([1, 3]))]
    assert len(set(made)) == 1 and all(type(size) is int for size in made[2].group_sizes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_tokens=16, num_steps=17), "num_steps: got 17, allowed are whole .* 1 to 16$"),
        (dict(num_tokens=16, num_steps=0), "num_steps: got 0, allowed are whole .* 1 to 16$"),
        (dict(num_tokens=16, num_steps=2.5), "num_steps: got 2.5, allowed are whole numbers"),
        (dict(num_tokens=16, num_steps=True), "num_steps: got True, allowed are whole numbers"),
        (dict(num_tokens=0), "num_tokens: got 0, allowed are whole numbers from 1$"),
        (dict(num_tokens=16, group_sizes=[1, 2, 4]), "group_sizes: got a sum of 7, .* 16$"),
        (dict(num_tokens=4, group_sizes=[1, 0, 3]), r"group_sizes\[1\]: got 0, .* numbers from 1$"),
        (dict(num_tokens=4, group_sizes=[]), r"group_sizes: got \[\], .* one for each step$"),
        (dict(num_tokens=4, group_sizes=[1.0, 3]), r"group_sizes\[0\]: got 1.0, allowed are whole"),
        (dict(num_tokens=4, group_sizes=4), "group_sizes: got 4, .* one for each step$"),
        (
            dict(num_tokens=4, num_steps=3, group_sizes=[1, 3]),
            "num_steps: got 3, .* group_sizes, 2",
        ),
    ],
)
def test_bad_schedules_are_named(arguments, message):
    with pytest.raises(UserError, match="^" + message):
        make_schedule(**arguments)
