"""Experiments on clips: PAR in groups of time, LPD over three axes. Nobody published numbers."""

import dataclasses
import math

import numpy as np
import pytest

from lpd_jax.decoding.order import make_order, region_order
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.models.family import transformer_of
from lpd_jax.models.par_layout import PARConfig, par_order, par_schedule
from lpd_jax.models.position_tables import resize_position_embedding
from lpd_jax.runtime.errors import UserError
from tests import tiny
from tests.models.drawn import draw_greedily

GRID = (3, 2, 4)
TEMPORAL = dataclasses.replace(tiny.PAR, grid_size=GRID, num_parallel=3, region_split=(3, 1, 1))
LPD = dataclasses.replace(tiny.LPD, grid_size=GRID)


def places(order_N, grid):
    return np.stack(np.unravel_index(order_N, grid), -1)


def test_temporal_groups_are_one_cell_of_all_frames():
    config = PARConfig(1, 64, 1, num_parallel=5, grid_size=(5, 8, 8), region_split=(5, 1, 1))
    schedule = par_schedule(config)
    assert schedule.num_steps == 68 and schedule.group_sizes[:6] == (1, 1, 1, 1, 1, 5)
    groups = places(par_order(config), config.grid_size).reshape(64, 5, 3)
    np.testing.assert_array_equal(groups[:, :, 0], np.tile(np.arange(5), (64, 1)))
    np.testing.assert_array_equal(groups[:, :1, 1:] - groups[:, :, 1:], 0)
    np.testing.assert_array_equal(groups[:, 0, 1] * 8 + groups[:, 0, 2], np.arange(64))


def test_regions_along_three_axes_lie_as_far_apart_as_can_be():
    grid = (4, 6, 4)
    order_N = region_order(grid, (2, 3, 2))
    groups = places(order_N, grid).reshape(-1, 12, 3)
    assert sorted(order_N.tolist()) == list(range(96))
    for group in groups:
        assert len({tuple(place % (2, 2, 2)) for place in group}) == 1
        assert len({tuple(place // (2, 2, 2)) for place in group}) == 12
    np.testing.assert_array_equal(region_order(grid, (1, 2, 2)), region_order(grid, 4))
    np.testing.assert_array_equal(region_order((6, 8), (2, 2)), region_order((6, 8), 4))
    own = make_order("region", grid, make_schedule(96), num_orders=1, num_regions=(2, 3, 2))
    np.testing.assert_array_equal(own[0], order_N)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(TEMPORAL, id="temporal PAR"),
        pytest.param(LPD, id="LPD", marks=pytest.mark.slow),
    ],
)
def test_drawn_tokens_are_those_of_the_teacher_forced_pass(config):
    params, family = tiny.random_params(config), transformer_of(config)
    schedule = family.schedule()
    order_BN = family.orders(None, schedule, 2, seed=3)
    labels_B = np.array([0, 2])
    drawn = draw_greedily(config, params, order_BN, labels_B)
    np.testing.assert_allclose(drawn.logits_BNV, drawn.forced_BNV, atol=1e-4)
    np.testing.assert_array_equal(drawn.ranked_BN, np.argmax(drawn.forced_BNV, -1))
    assert max(schedule.group_sizes) > 1 and len(np.unique(drawn.ranked_BN)) > 3


def test_an_lpd_of_clips_knows_three_axes():
    assert LPD.num_tokens == math.prod(GRID)
    family = transformer_of(LPD)
    order_BN = family.orders("locality", family.schedule(8), 3)
    assert (np.sort(order_BN, axis=1) == np.arange(24)[None]).all()
    table = np.ones((25, 4), np.float32)
    np.testing.assert_array_equal(resize_position_embedding(table, GRID, GRID), table)
    with pytest.raises(UserError, match=r"^grid_size: got \(3, 4, 4\), allowed is that of the w"):
        resize_position_embedding(table, GRID, (3, 4, 4))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"region_split": (2, 1, 1)}, r"^region_split: got \(2, 1, 1\), allowed are divisors of"),
        ({"region_split": (3, 1)}, r"^region_split: got \(3, 1\), allowed are divisors of the si"),
        ({"region_split": (0, 1, 1)}, r"^region_split: got 0, allowed are whole numbers from 1"),
        (
            {"num_parallel": 4},
            r"^region_split: got .*, allowed are numbers whose product is num_pa",
        ),
        ({"num_regions": 1}, "^num_regions: got 1, allowed beside region_split is None"),
    ],
)
def test_regions_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(TEMPORAL, **fields)
