"""Masks that look random, whatever they are next to, and cost no random numbers."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.dropout import Dropout, hashed_places

SHAPE = (16, 32, 64)
KEYS = [jax.random.key(seed) for seed in range(4)]


def dropped(x, key, rate=0.1):
    return Dropout(rate).apply({}, x, deterministic=False, rngs={"dropout": key})


def masks(rate=0.5, keys=KEYS, shape=SHAPE):
    ones = jnp.ones(shape)
    return [np.asarray(dropped(ones, key, rate)) == 0 for key in keys]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_kept_is_divided_by_its_share(rate, dtype):
    x = jax.random.normal(jax.random.key(7), (64, 4096)).astype(dtype)
    found = dropped(x, KEYS[0], rate)
    assert found.dtype == dtype
    kept = found != 0
    # Five standard deviations of a share of 262,144 numbers.
    assert abs(float(kept.mean()) - (1 - rate)) < 5 * (rate * (1 - rate) / x.size) ** 0.5
    chex.assert_trees_all_close(found[kept], (x / (1 - rate)).astype(dtype)[kept])


def test_nothing_is_dropped_outside_of_training_or_at_rate_0():
    x = jnp.ones(SHAPE)
    chex.assert_trees_all_equal(Dropout(0.5).apply({}, x, deterministic=True), x)
    chex.assert_trees_all_equal(dropped(x, KEYS[0], 0.0), x)


def test_gradients_pass_where_numbers_were_kept():
    x = jax.random.normal(jax.random.key(7), SHAPE)
    found, pull = jax.vjp(lambda x: dropped(x, KEYS[0], 0.25), x)
    (slope,) = pull(jnp.ones(SHAPE))
    chex.assert_trees_all_equal(slope, jnp.where(found != 0, 1 / 0.75, 0))


def test_masks_of_other_keys_have_nothing_in_common():
    for one, other in itertools.combinations(masks(), 2):
        assert abs((one == other).mean() - 0.5) < 5 * 0.5 / one.size**0.5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift", [1, 2, 3, 4, 8, 15])
def test_neighbours_along_an_axis_have_nothing_in_common(axis, shift):
    for mask in masks(keys=KEYS[:2]):
        alike = (mask == np.roll(mask, shift, axis)).mean()
        assert abs(alike - 0.5) < 5 * 0.5 / mask.size**0.5


def test_no_mask_is_another_one_shifted():
    """Keys that only added to the place would be told by it."""
    one, other = (mask.ravel() for mask in masks(keys=KEYS[:2], shape=(1, 4096)))
    spectrum = np.fft.fft(1 - 2.0 * one) * np.conj(np.fft.fft(1 - 2.0 * other))
    assert np.abs(np.fft.ifft(spectrum)).max() < 6 * 4096**0.5


@pytest.mark.parametrize("bit", [0, 7, 16, 31])
def test_every_bit_is_one_half_of_the_time(bit):
    words = hashed_places(SHAPE, jax.random.bits(KEYS[0], (2,)))
    assert words.dtype == jnp.uint32
    share = float((words >> bit & 1).mean())
    assert abs(share - 0.5) < 5 * 0.5 / words.size**0.5


def test_a_place_has_its_number_whatever_the_batch():
    """So that devices that hold parts of a batch draw what one device would."""
    words_2 = jax.random.bits(KEYS[0], (2,))
    chex.assert_trees_all_equal(
        hashed_places(SHAPE, words_2)[:5], hashed_places((5, *SHAPE[1:]), words_2)
    )


def test_the_backward_pass_keeps_two_words():
    x = jnp.ones(SHAPE)
    kept = jax.tree.leaves(
        jax.eval_shape(lambda x: jax.vjp(lambda y: dropped(y, KEYS[0]), x)[1], x)
    )
    assert sum(leaf.size for leaf in kept) <= 2
