"""Frames and pixels moved to channels and back.

Letters: B clips, T frames, H W places, C channels, t h w how many of them become one.
"""

import math

import jax

Sizes = tuple[int, int, int]  # along time, height and width


def space_to_depth(x_BTHWC: jax.Array, factors: Sizes) -> jax.Array:
    """`[B, T t, H h, W w, C]` -> `[B, T, H, W, t h w C]`, for factors (t, h, w)."""
    B, T, H, W, C = x_BTHWC.shape
    t, h, w = factors
    x = x_BTHWC.reshape(B, T // t, t, H // h, h, W // w, w, C)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(B, T // t, H // h, W // w, -1)


def depth_to_space(x_BTHWC: jax.Array, factors: Sizes) -> jax.Array:
    """`[B, T, H, W, t h w C]` -> `[B, T t, H h, W w, C]`, for factors (t, h, w)."""
    B, T, H, W, C = x_BTHWC.shape
    t, h, w = factors
    x = x_BTHWC.reshape(B, T, H, W, t, h, w, C // math.prod(factors))
    x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(B, T * t, H * h, W * w, -1)
