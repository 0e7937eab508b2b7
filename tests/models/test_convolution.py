"""The convolution is XLA's own, and so are both of its gradients, whichever way they are taken."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.convolution import (
    Conv3x3,
    by_convolution,
    by_phases,
    by_products,
    convolve,
    convolve_doubled,
    double,
    plain_convolution,
)


@pytest.fixture(params=[(1, (1, 1)), (2, (0, 1))], ids=["stride1", "stride2"])
def case(request):
    """Image, kernel, stride, padding, and a gradient of the output."""
    stride, padding = request.param
    random = np.random.default_rng(stride)
    image_BHWC = random.standard_normal((2, 6, 8, 5)).astype(np.float32)
    kernel = random.standard_normal((3, 3, 5, 4)).astype(np.float32)
    gradient_BHWO = random.standard_normal((2, 6 // stride, 8 // stride, 4)).astype(np.float32)
    return image_BHWC, kernel, stride, padding, gradient_BHWO


def test_forward_and_gradients_are_those_of_xla(case):
    image_BHWC, kernel, stride, padding, gradient_BHWO = case

    def with_gradients(function):
        @jax.jit
        def run(image_BHWC, kernel):
            rows = (image_BHWC, kernel)
            outputs, vjp = jax.vjp(lambda *rows: function(*rows, stride, padding), *rows)
            return outputs, *vjp(gradient_BHWO)

        return run(image_BHWC, kernel)

    chex.assert_trees_all_close(
        with_gradients(convolve), with_gradients(plain_convolution), atol=2e-5
    )


def test_both_ways_to_the_kernel_gradient_agree(case):
    image_BHWC, kernel, stride, padding, gradient_BHWO = case
    by_hand = np.zeros_like(kernel)
    padded = np.pad(image_BHWC, ((0, 0), padding, padding, (0, 0)))
    height, width = gradient_BHWO.shape[1:3]
    for i, j in np.ndindex(3, 3):
        window = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
        by_hand[i, j] = np.einsum("bhwc,bhwo->co", window, gradient_BHWO)
    for way in (by_products, by_convolution):
        gradient = way(image_BHWC, gradient_BHWO, kernel, stride, padding)
        np.testing.assert_allclose(gradient, by_hand, atol=2e-5)


def test_bfloat16_stays_bfloat16(case):
    image_BHWC, kernel, stride, padding, gradient_BHWO = case
    half = [jnp.asarray(x, jnp.bfloat16) for x in (image_BHWC, kernel, gradient_BHWO)]
    _, vjp = jax.vjp(lambda *rows: convolve(*rows, stride, padding), *half[:2])
    image_gradient, kernel_gradient = jax.jit(vjp)(half[2])
    assert image_gradient.dtype == kernel_gradient.dtype == jnp.bfloat16
    want = by_products(image_BHWC, gradient_BHWO, kernel, stride, padding)
    np.testing.assert_allclose(kernel_gradient.astype(np.float32), want, rtol=0.05, atol=0.3)


def test_the_layer_has_kernel_and_bias():
    layer, image_BHWC = Conv3x3(4, stride=2, padding=(0, 1)), jnp.zeros((1, 6, 8, 5))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), image_BHWC)["params"]
    assert {name: leaf.shape for name, leaf in shapes.items()} == {
        "kernel": (3, 3, 5, 4),
        "bias": (4,),
    }
    params = {"kernel": np.ones((3, 3, 5, 4), np.float32), "bias": np.arange(4, dtype=np.float32)}
    outputs = layer.apply({"params": params}, image_BHWC)
    np.testing.assert_array_equal(outputs, np.broadcast_to(params["bias"], (1, 3, 4, 4)))


def test_a_convolution_of_doubled_pixels_needs_no_doubling():
    random = np.random.default_rng(3)
    image_BHWC = random.standard_normal((2, 3, 5, 4)).astype(np.float32)
    kernel = random.standard_normal((3, 3, 4, 6)).astype(np.float32)
    gradient_BHWO = random.standard_normal((2, 6, 10, 6)).astype(np.float32)
    repeated_BHWC = image_BHWC.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(double(image_BHWC), repeated_BHWC)

    def plain(image_BHWC, kernel):
        return plain_convolution(double(image_BHWC), kernel, 1, (1, 1))

    def with_gradients(function):
        outputs, vjp = jax.vjp(function, image_BHWC, kernel)
        return outputs, *vjp(gradient_BHWO)

    want = with_gradients(plain)
    chex.assert_trees_all_close(
        jax.jit(lambda: with_gradients(convolve_doubled))(), want, atol=1e-4
    )
    np.testing.assert_allclose(by_phases(image_BHWC, kernel), want[0], atol=1e-5)
