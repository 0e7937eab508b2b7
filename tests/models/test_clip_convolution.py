"""Convolutions of clips against XLA's own, with their gradients."""

import chex
import jax
import jax.numpy as jnp
import pytest

from lpd_jax.models.clip_convolution import CLIP_CONVOLUTIONS, convolve_clips, over_clips

EXACT_HALF = 2.0**-7  # numbers of a few bits, which bfloat16 holds


@pytest.mark.parametrize("products", CLIP_CONVOLUTIONS)
@pytest.mark.parametrize(
    ("size", "window", "strides"),
    [
        ((4, 5, 7), (3, 3, 3), (1, 1, 1)),
        ((7, 10, 8), (3, 3, 3), (2, 2, 2)),
        ((4, 9, 10), (3, 3, 3), (1, 2, 2)),
        pytest.param((3, 4, 4), (1, 1, 1), (1, 1, 1), marks=pytest.mark.slow),
        pytest.param((6, 6, 7), (3, 2, 3), (3, 2, 1), marks=pytest.mark.slow),
    ],
)
def test_convolutions_and_their_gradients_are_those_of_xla(size, window, strides, products):
    keys = jax.random.split(jax.random.key(0), 3)

    def few_bits(key, shape):
        return jax.random.randint(key, shape, -64, 64) * EXACT_HALF

    x_BTHWC, kernel = few_bits(keys[0], (2, *size, 3)), few_bits(keys[1], (*window, 3, 5))
    want_BTHWO = over_clips(x_BTHWC, kernel, strides)
    dy_BTHWO = few_bits(keys[2], want_BTHWO.shape)

    def with_gradients(convolve):
        y_BTHWO, vjp = jax.vjp(convolve, x_BTHWC, kernel)
        return y_BTHWO, *vjp(dy_BTHWO)

    got = with_gradients(lambda x, k: convolve_clips(x, k, strides, products))
    want = with_gradients(lambda x, k: over_clips(x, k, strides))
    chex.assert_trees_all_close(got, want, atol=1e-4)
    chex.assert_trees_all_equal_dtypes(got, want)


def test_rounded_numbers_differ_as_little_as_their_bits_allow():
    x_BTHWC, kernel = jnp.full((1, 3, 3, 3, 1), 1 + 2.0**-10), jnp.ones((3, 3, 3, 1, 1))
    assert float(convolve_clips(x_BTHWC, kernel, products="bfloat16").sum()) == 27.0
    assert float(convolve_clips(x_BTHWC, kernel).sum()) > 27.0
