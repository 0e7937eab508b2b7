"""What the VQ tokenizer's encoder and decoder are built of. All compute in the type of their input.

Channels last. Dimension key: B batch, H W grid or image, T U places, C channels, G norm groups.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.convolution import Conv3x3

NORM_GROUPS = 32
NORM_EPSILON = 1e-6
# Of a grid, whose scores stand in memory at once: 64 MB of a picture. 65,536 places have 17 GB.
MOST_PLACES = 4096


class ResBlock(nn.Module):
    """norm, swish, conv, norm, swish, conv, plus a skip (1x1 where the width changes)."""

    channels: int

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        h_BHWC = conv3x3(self.channels, "conv1")(nn.silu(group_norm("norm1")(x_BHWC)))
        h_BHWC = conv3x3(self.channels, "conv2")(nn.silu(group_norm("norm2")(h_BHWC)))
        if x_BHWC.shape[-1] != self.channels:
            x_BHWC = nn.Conv(self.channels, (1, 1), dtype=x_BHWC.dtype, name="nin_shortcut")(x_BHWC)
        return x_BHWC + h_BHWC


class AttentionBlock(nn.Module):
    """Single-head self-attention over all positions of the grid, with a residual."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        B, H, W, C = x_BHWC.shape
        x_BTC = group_norm("norm")(x_BHWC).reshape(B, H * W, C)
        q_BTC, k_BTC, v_BTC = (
            nn.Conv(C, (1,), dtype=x_BTC.dtype, name=name)(x_BTC) for name in ("q", "k", "v")
        )
        x_BTC = attend_in_parts(q_BTC, k_BTC, v_BTC)
        return x_BHWC + nn.Conv(C, (1,), dtype=x_BTC.dtype, name="proj_out")(x_BTC).reshape(
            B, H, W, C
        )


def attend_in_parts(q_BTC: jax.Array, k_BUC: jax.Array, v_BUC: jax.Array) -> jax.Array:
    """`attend`; of many places some at a time, for all their scores are the square of them."""
    B, T, C = q_BTC.shape
    if T <= MOST_PLACES:
        return attend(q_BTC, k_BUC, v_BUC)
    rows = max(1, MOST_PLACES**2 // T)
    padded_BTC = jnp.pad(q_BTC, ((0, 0), (0, -T % rows), (0, 0)))
    parts = padded_BTC.reshape(B, -1, rows, C).swapaxes(0, 1)
    mixed = jax.lax.map(lambda part_BTC: attend(part_BTC, k_BUC, v_BUC), parts)
    return mixed.swapaxes(0, 1).reshape(padded_BTC.shape)[:, :T]


def attend(q_BTC: jax.Array, k_BUC: jax.Array, v_BUC: jax.Array) -> jax.Array:
    scale = q_BTC.shape[-1] ** -0.5
    scores_BTU = jnp.einsum("BTC,BUC->BTU", q_BTC, k_BUC).astype(jnp.float32) * scale
    weights_BTU = jax.nn.softmax(scores_BTU, axis=-1).astype(v_BUC.dtype)
    return jnp.einsum("BTU,BUC->BTC", weights_BTU, v_BUC)


def middle(x_BHWC: jax.Array, attends: bool = True) -> jax.Array:
    """ResBlock, attention, ResBlock at the lowest resolution."""
    channels = x_BHWC.shape[-1]
    x_BHWC = ResBlock(channels, name="mid_0")(x_BHWC)
    if attends:
        x_BHWC = AttentionBlock(name="mid_1")(x_BHWC)
    return ResBlock(channels, name="mid_2")(x_BHWC)


def downsample(x_BHWC: jax.Array, name: str) -> jax.Array:
    """Halves both sides. The one pixel of padding goes right and below, as in the reference."""
    return Conv3x3(x_BHWC.shape[-1], stride=2, padding=(0, 1), name=name)(x_BHWC)


def upsample(x_BHWC: jax.Array, name: str) -> jax.Array:
    """Doubles both sides: nearest neighbour, then a convolution."""
    return Conv3x3(x_BHWC.shape[-1], doubled=True, name=name)(x_BHWC)


def subpixel(x_BHWC: jax.Array, channels: int, size: int, name: str) -> jax.Array:
    """Multiplies both sides by `size`: a convolution writes `size` x `size` pixels for each.

    It starts with one kernel for all of them, so that no pattern of squares is to be unlearned.
    """

    def alike(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        kernel = nn.initializers.lecun_normal()(key, (*shape[:-1], channels), dtype)
        return jnp.tile(kernel, size**2)

    return unfold_pixels(Conv3x3(channels * size**2, kernel_init=alike, name=name)(x_BHWC), size)


def fold_pixels(x_BHWC: jax.Array, size: int) -> jax.Array:
    """Turns squares of `size` x `size` pixels into channels."""
    B, H, W, C = x_BHWC.shape
    x = x_BHWC.reshape(B, H // size, size, W // size, size, C).swapaxes(2, 3)
    return x.reshape(B, H // size, W // size, size * size * C)


def unfold_pixels(x_BHWC: jax.Array, size: int) -> jax.Array:
    """Undoes `fold_pixels`."""
    B, H, W, C = x_BHWC.shape
    x = x_BHWC.reshape(B, H, W, size, size, C // size**2).swapaxes(2, 3)
    return x.reshape(B, H * size, W * size, C // size**2)


def conv3x3(channels: int, name: str) -> Conv3x3:
    return Conv3x3(channels, name=name)


class GroupNorm(nn.Module):
    """Group normalisation over positions and the channels of a group.

    Moments are taken per channel first and joined to groups at `[B, C]`, so that the image-sized
    work is one reduction and one multiply-add: a fifth of `nn.GroupNorm`'s time on CPU.
    """

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        B, *_, C = x_BHWC.shape
        scale_C = self.param("scale", nn.initializers.ones_init(), (C,), jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros_init(), (C,), jnp.float32)
        x32_BHWC = x_BHWC.astype(jnp.float32)
        axes = tuple(range(1, x_BHWC.ndim - 1))
        mean_BC = group_mean(x32_BHWC.mean(axes))
        variance_BC = group_mean(jnp.square(x32_BHWC).mean(axes)) - jnp.square(mean_BC)
        gain_BC = scale_C[None] * jax.lax.rsqrt(jnp.maximum(variance_BC, 0.0) + NORM_EPSILON)
        shift_BC = bias_C[None] - mean_BC * gain_BC
        wide = (B, *(1,) * len(axes), C)
        y_BHWC = x32_BHWC * gain_BC.reshape(wide) + shift_BC.reshape(wide)
        return y_BHWC.astype(x_BHWC.dtype)


def group_mean(x_BC: jax.Array) -> jax.Array:
    """Replaces each channel by the mean of its group of channels."""
    B, C = x_BC.shape
    mean_BG1 = x_BC.reshape(B, NORM_GROUPS, C // NORM_GROUPS).mean(-1, keepdims=True)
    return jnp.broadcast_to(mean_BG1, (B, NORM_GROUPS, C // NORM_GROUPS)).reshape(B, C)


def group_norm(name: str) -> GroupNorm:
    return GroupNorm(name=name)
