"""GELU and its slope, against float64."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.gelu import gelu

X = np.linspace(-9, 9, 4001)
SHARE = 0.5 * np.array([math.erfc(-x / math.sqrt(2)) for x in X])
SLOPE = SHARE + X * np.exp(-0.5 * X**2) / math.sqrt(2 * math.pi)


def test_in_float32_it_is_exact_and_so_is_its_slope():
    value, slope = jax.vmap(jax.value_and_grad(gelu))(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(value, X * SHARE, atol=2e-6)
    np.testing.assert_allclose(slope, SLOPE, atol=2e-6)


def test_of_bfloat16_it_is_rounded_once():
    x = jnp.asarray(X, jnp.bfloat16)
    want = gelu(x.astype(jnp.float32)).astype(jnp.bfloat16)
    chex.assert_trees_all_equal(gelu(x), want)
    rounded_between = jax.nn.gelu(x, approximate=False)
    assert (rounded_between != want).mean() > 0.1  # so that the test can fail


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_backward_pass_keeps_one_array_of_its_dtype(dtype):
    x = jnp.ones((3, 5), dtype)
    _, backward = jax.vjp(gelu, x)
    kept = [leaf for leaf in jax.tree.leaves(backward) if leaf.shape == x.shape]
    assert [leaf.dtype for leaf in kept] == [dtype]
