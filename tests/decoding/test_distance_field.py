"""Squared distances against all pairs."""

import numpy as np
import pytest

from lpd_jax.decoding.distance_field import beyond, distance_dtype, lower_distances


def plain_distances(grid, cells):
    """distance^2 of every cell from the nearest of `cells`, `beyond` without any, [N]."""
    places_N = np.stack(np.unravel_index(np.arange(np.prod(grid)), grid), -1)
    apart_NK = ((places_N[:, None] - places_N[cells][None]) ** 2).sum(-1)
    return apart_NK.min(axis=1, initial=beyond(grid))


@pytest.mark.parametrize("grid", [(9, 7), (1, 20), (20, 1), (3, 5, 6), (4, 1, 5), (100, 40)])
def test_distances_are_those_of_all_pairs(grid):
    rng = np.random.default_rng(0)
    num_cells = int(np.prod(grid))
    sets = [rng.permutation(num_cells)[:count] for count in (0, 1, 2, num_cells // 3)]
    row_K = np.repeat(np.arange(4), list(map(len, sets)))
    shuffled = rng.permutation(len(row_K))
    distance_BN = np.full((4, num_cells), beyond(grid), distance_dtype(grid))
    lower_distances(distance_BN, grid, row_K[shuffled], np.concatenate(sets)[shuffled])
    want_BN = np.stack([plain_distances(grid, cells) for cells in sets])
    np.testing.assert_array_equal(distance_BN, want_BN)


def test_it_only_lowers():
    grid, cells = (6, 6), np.array([0, 35])
    distance_BN = np.arange(36, dtype=distance_dtype(grid))[None]
    want_BN = np.minimum(distance_BN, plain_distances(grid, cells))
    lower_distances(distance_BN, grid, np.zeros(2, int), cells)
    np.testing.assert_array_equal(distance_BN, want_BN)


def test_the_largest_sum_of_two_distances_fits():
    for grid, dtype in (((91, 91), np.int16), ((92, 92), np.int32), ((1, 16384), np.int32)):
        assert distance_dtype(grid) == dtype
        assert 2 * beyond(grid) <= np.iinfo(dtype).max
