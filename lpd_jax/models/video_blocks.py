"""What the video tokenizer's encoder and decoder are built of: a frame never sees a later one.

So a clip can be taken in chunks, one after another, and gives what it gives as a whole: each
convolution then keeps, in the collection PAST, the last frames that the next chunk looks back at.
All compute in the type of their input. Channels last. Dimension key: B clips, T frames, H W grid or
picture, C channels.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.clip_convolution import UNSTRIDED, convolve_clips
from lpd_jax.models.space_and_depth import Sizes, depth_to_space, space_to_depth

PAST = "past"
NORM_GROUPS = 32
NORM_EPSILON = 1e-5
WINDOW = (3, 3, 3)  # of convolutions


class CausalConv(nn.Module):
    """A convolution over itself and the past; beyond the edges it sees what lies at them."""

    channels: int
    window: Sizes = WINDOW
    strides: Sizes = UNSTRIDED
    products: str = "plain"

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        """Args:
        x_BTHWC: of any number of frames; of whole strides where `goes_on`.
        goes_on: these frames follow those that PAST remembers.
        """
        x_BTHWC = self.after_the_past(x_BTHWC, goes_on)
        sides = [(side // 2, side // 2) for side in self.window[1:]]
        x_BTHWC = jnp.pad(x_BTHWC, [(0, 0), (0, 0), *sides, (0, 0)], mode="edge")
        sizes = self.channels, self.window, self.strides
        return WithinEdges(*sizes, self.products, name="conv")(x_BTHWC)

    def after_the_past(self, x_BTHWC: jax.Array, goes_on: bool) -> jax.Array:
        """The frames behind those that their windows reach back to; keeps some for the next."""
        reach = self.window[0] - 1
        if not reach:
            return x_BTHWC
        before = jnp.repeat(x_BTHWC[:, :1], reach, axis=1)
        if goes_on:
            before = self.get_variable(PAST, "frames")
        x_BTHWC = jnp.concatenate([before, x_BTHWC], axis=1)
        if self.is_mutable_collection(PAST):
            kept = self.window[0] - self.strides[0]
            self.put_variable(PAST, "frames", x_BTHWC[:, x_BTHWC.shape[1] - kept :])
        return x_BTHWC


class WithinEdges(nn.Module):
    """A convolution with bias that adds nothing at the edges; parameters as in `nn.Conv`."""

    channels: int
    window: Sizes
    strides: Sizes
    products: str

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        shape = (*self.window, x_BTHWC.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        kernel, bias_C = kernel.astype(x_BTHWC.dtype), bias_C.astype(x_BTHWC.dtype)
        y_BTHWC = convolve_clips(x_BTHWC, kernel, self.strides, self.products)
        return y_BTHWC + bias_C[None, None, None, None]


class Pointwise(nn.Conv):
    """The same for each place and frame: a matrix over channels."""

    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        del goes_on
        return super().__call__(x_BTHWC)


class FrameNorm(nn.Module):
    """Group normalisation of each frame by itself: positions, and the channels of a group.

    Moments are taken per channel first and joined to groups, which is fast on CPU.
    """

    groups: int = NORM_GROUPS

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        del goes_on
        C = x_BTHWC.shape[-1]
        scale_C = self.param("scale", nn.initializers.ones_init(), (C,), jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros_init(), (C,), jnp.float32)
        x32_BTHWC = x_BTHWC.astype(jnp.float32)
        mean = group_mean(x32_BTHWC.mean((2, 3), keepdims=True), self.groups)
        square = group_mean(jnp.square(x32_BTHWC).mean((2, 3), keepdims=True), self.groups)
        variance = jnp.maximum(square - jnp.square(mean), 0.0)
        gain = scale_C[None, None, None, None] * jax.lax.rsqrt(variance + NORM_EPSILON)
        shift = bias_C[None, None, None, None] - mean * gain
        return (x32_BTHWC * gain + shift).astype(x_BTHWC.dtype)


def group_mean(x: jax.Array, groups: int) -> jax.Array:
    """Replaces each channel, the last axis, by the mean of its group of channels."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    return jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape).reshape(x.shape)


class Swish(nn.Module):
    """x sigmoid(beta x), with a beta of each channel that is learned."""

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        del goes_on
        beta_C = self.param("beta", nn.initializers.ones_init(), (x_BTHWC.shape[-1],), jnp.float32)
        beta = beta_C.astype(x_BTHWC.dtype)[None, None, None, None]
        return x_BTHWC * jax.nn.sigmoid(beta * x_BTHWC)


class ResidualUnit(nn.Module):
    """norm, swish, conv, norm, swish, conv, plus a skip (1x1x1 where the width changes)."""

    channels: int
    groups: int = NORM_GROUPS
    products: str = "plain"
    window: Sizes = WINDOW

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        conv = functools.partial(CausalConv, products=self.products)
        h_BTHWC = Swish(name="swish1")(FrameNorm(self.groups, name="norm1")(x_BTHWC))
        h_BTHWC = conv(self.channels, self.window, name="conv1")(h_BTHWC, goes_on)
        h_BTHWC = Swish(name="swish2")(FrameNorm(self.groups, name="norm2")(h_BTHWC))
        h_BTHWC = conv(self.channels, self.window, name="conv2")(h_BTHWC, goes_on)
        if x_BTHWC.shape[-1] != self.channels:
            x_BTHWC = conv(self.channels, (1, 1, 1), name="skip")(x_BTHWC, goes_on)
        return x_BTHWC + h_BTHWC


class Unfold(nn.Module):
    """Channels to frames and pixels. Of a clip's first frame, only one comes of those doubled."""

    factors: Sizes

    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        x_BTHWC = depth_to_space(x_BTHWC, self.factors)
        return x_BTHWC if goes_on else x_BTHWC[:, self.factors[0] - 1 :]


class Fold(nn.Module):
    """Pixels to channels: the inverse of `Unfold`, of squares within frames."""

    factors: Sizes

    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        del goes_on
        return space_to_depth(x_BTHWC, self.factors)
