"""How far apart two pictures look: squared differences of what a frozen network sees in them.

`perceptual_distance` is LPIPS's recipe (Zhang et al., arXiv 1801.03924) for any network: features
of several depths, the channels of each place made a unit vector, squared differences, a weight for
each channel, the mean over places, the sum over depths.

- `efficientnet_distance` takes the stages of EfficientNet-Lite0 with equal weights, whose weights
  come with a package that anyone can install. It is not LPIPS: nobody fitted its weights to what
  people say, and its numbers compare with no published ones.
- `lpips` is LPIPS itself on VGG-16, version 0.1, as tokenizers are trained with. The dropout before
  its weights, which LlamaGen's trainer leaves on by accident, is off here.

`weights.perceptual.load_perceptual` reads the weights and gives one of the two ready for use. All
are pure and compiled, differentiable in both pictures, and average nothing over the batch.

Letters: B batch, H height, W width, C channels.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.models.efficientnet_lite import NUM_STAGES, EfficientNetLite0
from lpd_jax.models.vgg import VGG16

# LPIPS's own statistics of pictures in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
LPIPS_EPSILON = 1e-10  # added to the norm of a place
# Added under the root: stages without activation pass through 0, where a root has no gradient.
STAGE_EPSILON = 1e-6


@functools.partial(jax.jit, static_argnames=("num_stages", "size", "dtype"))
def efficientnet_distance(
    params: Mapping[str, Any],
    images_BHWC: jax.Array,
    others_BHWC: jax.Array,
    *,
    num_stages: int = NUM_STAGES,
    size: int | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Distance of each pair, float32 `[B]`: the sum over stages of mean squared differences of
    unit vectors, each between 0 and 4.

    A pair of 64x64 pictures and the gradient in one of them cost 0.20 GFLOPs (0.07 with the first
    three stages alone, 0.013 with the first), and 12 times as much resized to 224.

    Args:
        params: of `EfficientNetLite0`.
        images_BHWC, others_BHWC: floats in [-1, 1], `[B, H, W, 3]`.
        num_stages: how many of the five stages count, from the finest on.
        size: the short side that pictures are resized to before, bilinear; None leaves them. A
            network that learned from pictures of 224 knows the parts of things at that size; the
            cost grows with its square.
        dtype: what the network computes in; differences are float32 always.
    """
    network = EfficientNetLite0(num_stages, head=False)

    def stages(pictures_BHWC: jax.Array) -> list[jax.Array]:
        pictures_BHWC = resize_short_side(pictures_BHWC, size).astype(dtype)
        outputs: Any = network.apply({"params": params}, pictures_BHWC)
        return [
            unit_vectors(outputs[f"stage_{i + 1}"], STAGE_EPSILON, 0.0) for i in range(num_stages)
        ]

    return weighted_difference(stages(images_BHWC), stages(others_BHWC))


@functools.partial(jax.jit, static_argnames="dtype")
def lpips(
    params: Mapping[str, Any],
    images_BHWC: jax.Array,
    others_BHWC: jax.Array,
    *,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """LPIPS (VGG-16, version 0.1) of each pair, float32 `[B]`.

    Args:
        params: {"vgg": parameters of `VGG16`, "channel_weights": {"tap_0": `[64]`, ...}}.
        images_BHWC, others_BHWC: floats in [-1, 1], `[B, H, W, 3]`, sides of at least 16.
        dtype: what the network computes in; differences are float32 always.
    """
    shift_C, scale_C = jnp.asarray(SHIFT), jnp.asarray(SCALE)

    def taps(pictures_BHWC: jax.Array) -> list[jax.Array]:
        scaled_BHWC = (pictures_BHWC - shift_C[None, None, None]) / scale_C[None, None, None]
        outputs: Any = VGG16().apply({"params": params["vgg"]}, scaled_BHWC.astype(dtype))
        return [unit_vectors(tap_BHWC, 0.0, LPIPS_EPSILON) for tap_BHWC in outputs]

    first, second = taps(images_BHWC), taps(others_BHWC)
    weights = [params["channel_weights"][f"tap_{i}"] for i in range(len(first))]
    return weighted_difference(first, second, weights)


def weighted_difference(
    first: Sequence[jax.Array],
    second: Sequence[jax.Array],
    channel_weights: Sequence[jax.Array] | None = None,
) -> jax.Array:
    """Squared differences of `[B, H, W, C]`, weighted by `[C]` or all by 1: summed over channels
    and depths, averaged over places; `[B]`."""
    total_B = jnp.zeros(len(first[0]), jnp.float32)
    for i, (x_BHWC, y_BHWC) in enumerate(zip(first, second, strict=True)):
        squared_BC = jnp.square(x_BHWC - y_BHWC).mean(axis=(1, 2))
        if channel_weights is not None:
            squared_BC = squared_BC * channel_weights[i][None]
        total_B = total_B + squared_BC.sum(axis=-1)
    return total_B


def unit_vectors(x_BHWC: jax.Array, under_root: float, beside_root: float) -> jax.Array:
    """The channels of each place divided by their norm, in float32; 0 stays 0.

    A place whose channels are all 0 has a gradient too, that of an empty place: none.
    """
    x_BHWC = x_BHWC.astype(jnp.float32)
    squares_BHW1 = jnp.square(x_BHWC).sum(axis=-1, keepdims=True) + under_root
    empty_BHW1 = squares_BHW1 == 0
    norm_BHW1 = jnp.sqrt(jnp.where(empty_BHW1, 1.0, squares_BHW1)) + beside_root
    return jnp.where(empty_BHW1, 0.0, x_BHWC / norm_BHW1)


def resize_short_side(images_BHWC: jax.Array, size: int | None) -> jax.Array:
    """Bilinear, smoothed where it shrinks, to a short side of `size`; None, as they are."""
    batch, height, width, channels = images_BHWC.shape
    if size is None or size == min(height, width):
        return images_BHWC
    sides = (round(side * size / min(height, width)) for side in (height, width))
    return jax.image.resize(images_BHWC, (batch, *sides, channels), "bilinear")
