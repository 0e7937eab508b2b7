"""The sides of a grid, and orders of it that a user brings."""

import numpy as np
import pytest

from lpd_jax.decoding.grid import check_grid, check_order, check_picture_grid
from lpd_jax.runtime.errors import UserError


def test_a_grid_becomes_plain_ints():
    assert check_grid(np.array([4, 6], np.int16)) == (4, 6)
    assert all(type(side) is int for side in check_grid([np.int64(4), 6]))

    assert check_grid([5, np.int8(4), 4]) == (5, 4, 4)


@pytest.mark.parametrize(
    "grid",
    [(0, 4), (4, -1), (4,), (2, 2, 2, 2), (4, 0, 4), (99, 99, 99), (4.0, 4), (True, 4), 16, None],
)
def test_what_is_no_grid_is_named(grid):
    allowed = r"allowed is \(height, width\) or \(frames, height, width\), all whole"
    with pytest.raises(UserError, match=f"^grid: got .*, {allowed}"):
        check_grid(grid)


@pytest.mark.parametrize("grid", [(0, 4), (4,), (5, 4, 4), 16])
def test_what_is_no_grid_of_a_picture_is_named(grid):
    with pytest.raises(UserError, match=r"^grid: got .*, allowed is \(height, width\), both whole"):
        check_picture_grid(grid)


def test_check_order_serves_one_order_to_every_image():
    order_BN = check_order([2, 0, 1], num_tokens=3, batch_size=2)
    assert order_BN.dtype == np.int32 and order_BN.tolist() == [[2, 0, 1]] * 2
    own_BN = np.array([[0, 1, 2], [2, 1, 0]], np.int16)
    np.testing.assert_array_equal(check_order(own_BN, 3, 2), own_BN)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            [[0, 1, 2], [0, 1, 1]],
            ["order: got one for image 1", "the first 2", "permutations of 0 to 2"],
        ),
        ([1, 2, 3], ["order: got one for image 0", "the first 0", "permutations of 0 to 2"]),
        ([0, 1], ["order: got shape (2,)", "(3,)", "(2, 3)"]),
        ([[0, 1, 2]], ["order: got shape (1, 3)", "(2, 3)"]),
        ([[0, 1], [0, 1, 2]], ["order: got [[0, 1], [0, 1, 2]]", "3 positions"]),
        ([0.0, 1.0, 2.0], ["order: got type float64", "integers"]),
    ],
)
def test_what_is_no_order_is_named(value, words):
    with pytest.raises(UserError) as error:
        check_order(value, num_tokens=3, batch_size=2)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message
