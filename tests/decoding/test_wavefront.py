"""Rows that overlap: which cell is drawn when, and in how many steps."""

import numpy as np
import pytest

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.wavefront import (
    step_of_cell,
    wavefront_order,
    wavefront_schedule,
    window_of,
    windows_by_steps,
)

GRIDS = [(4, 4), (5, 3), (2, 6), (1, 5), (24, 24)]


@pytest.mark.parametrize("grid", GRIDS)
def test_order_and_schedule_draw_each_cell_at_its_step(grid):
    for window in range(1, grid[1] + 1):
        order_N, schedule = wavefront_order(grid, window), wavefront_schedule(grid, window)
        assert sorted(order_N) == list(range(grid[0] * grid[1]))
        step_N = step_of_cell(grid, window)
        np.testing.assert_array_equal(step_N[order_N], schedule.group_of_rank())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_token_has_its_window_of_the_row_above(grid, window):
    """The paper's condition: of that row, so many from its own column on, or up to the end."""
    step_HW = step_of_cell(grid, window).reshape(grid)
    for row in range(grid[0]):
        assert (np.diff(step_HW[row]) == 1).all()  # one after the other
        for column in range(grid[1]) if row else ():
            assert step_HW[row - 1, column : column + window].max() < step_HW[row, column]


@pytest.mark.parametrize(
    ("side", "steps"),
    [
        (24, {24: 576, 16: 400, 12: 312, 8: 224, 1: 70}),
        (32, {32: 1024, 4: 184}),  # the paper says 185 for 512 pixels from text: with the prompt
        (16, {16: 256, 8: 144, 3: 74}),
    ],
)
def test_steps_are_those_of_the_released_code(side, steps):
    """The first row, then a row begins each `window` steps: two rows are drawn whole."""
    for window, count in steps.items():
        assert wavefront_schedule((side, side), window).num_steps == count
        assert windows_by_steps((side, side))[count] == window


def test_the_widest_window_is_raster_order():
    for grid in GRIDS:
        np.testing.assert_array_equal(wavefront_order(grid, grid[1]), np.arange(grid[0] * grid[1]))
        assert set(wavefront_schedule(grid, grid[1]).group_sizes) == {1}
    assert windows_by_steps((2, 6)) == {12: 6}


def test_a_schedule_tells_its_window():
    for window in range(1, 5):
        assert window_of((4, 4), wavefront_schedule((4, 4), window)) == window
    assert window_of((4, 4), GroupSchedule((4, 4, 4, 4))) is None
    as_many = wavefront_schedule((4, 4), 2).num_steps
    assert window_of((4, 4), GroupSchedule((1,) * (as_many - 1) + (17 - as_many,))) is None
    with pytest.raises(ValueError, match="^window: got 5, allowed are whole numbers from 1 to 4"):
        wavefront_order((4, 4), 5)
