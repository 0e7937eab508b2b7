"""FLOPs of traced functions against what their sizes say."""

import jax
import jax.numpy as jnp
import pytest

from lpd_jax.performance.traced_flops import traced_flops


def layers(x, weights):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0].sum()


def convolution(x, kernel, stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=numbers)
    return jnp.sum(y**2)


def strided(x, kernel):
    return convolution(x, kernel, stride=2)


MATRICES = jnp.ones((3, 8)), jnp.ones((5, 8, 8))
PICTURES = jnp.ones((2, 16, 16, 4)), jnp.ones((3, 3, 4, 6))
CASES = [
    (layers, MATRICES, 5 * 2 * 3 * 8 * 8),
    (convolution, PICTURES, 2 * 2 * 16 * 16 * 6 * 9 * 4),
    (strided, PICTURES, 2 * 2 * 8 * 8 * 6 * 9 * 4),
]


@pytest.mark.parametrize(("function", "arguments", "flops"), CASES)
def test_products_count_twice_their_multiplications(function, arguments, flops):
    assert traced_flops(jax.jit(function).trace(*arguments).jaxpr) == flops
    backward = jax.jit(jax.grad(function, (0, 1))).trace(*arguments).jaxpr
    assert traced_flops(backward) == 3 * flops
    again = jax.jit(jax.grad(jax.checkpoint(function), (0, 1))).trace(*arguments).jaxpr
    assert traced_flops(again) == pytest.approx(4 * flops, rel=0.26)  # forward once more, or not


def test_of_branches_the_dearest_counts():
    def either(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x @ w @ w)

    traced = jax.jit(either).trace(jnp.ones((3, 8)), jnp.ones((8, 8)))
    assert traced_flops(traced.jaxpr) == 2 * 2 * 3 * 8 * 8
