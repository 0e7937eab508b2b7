"""The sum of shifted pictures is the grouped convolution, gradients too."""

import jax
import numpy as np
import pytest

from lpd_jax.models import depthwise


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(8, 6), (7, 9), (2, 1)])
def test_both_ways_agree(window, stride, sides):
    generator = np.random.default_rng(window + stride)
    x = generator.standard_normal((2, *sides, 4)).astype(np.float32)
    kernel = generator.standard_normal((window, window, 1, 4)).astype(np.float32)
    shape = (2, *(-(-side // stride) for side in sides), 4)
    weights = generator.standard_normal(shape).astype(np.float32)
    results = []
    for convolve in (depthwise.by_shifts, depthwise.by_groups, depthwise.convolve_channels):

        def weighted(x, kernel, convolve=convolve):
            y = convolve(x, kernel, stride)
            return (y * weights).sum(), y

        pair = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(x, kernel)
        results.append((pair[0][1], *pair[1]))
    for shifts, groups, chosen in zip(*results, strict=True):
        np.testing.assert_allclose(shifts, groups, rtol=0, atol=1e-5)
        np.testing.assert_allclose(chosen, groups, rtol=0, atol=1e-5)
