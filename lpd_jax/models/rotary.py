"""Rotary positions in two dimensions, as LlamaGen (arXiv 2406.06525) has them, or in three.

Letters: N cells of the grid, T rows of one pass, H heads, K head width.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.models.size_limits import MOST_ANGLES, check_heads

ROPE_BASE = 10000.0


def cell_rope(grid_size: tuple[int, ...], head_dim: int) -> np.ndarray:
    """(cos, sin) of each pair of a head in each cell, float32 `[N, K / 2, 2]`, raster order.

    The first half of the pairs turns with the row, the second with the column. In a clip the first
    third turns with the frame, which also gets the pairs that three do not divide.
    """
    places = np.unravel_index(np.arange(math.prod(grid_size)), grid_size)
    angles_NK = np.concatenate(
        [
            place_N[:, None] * (ROPE_BASE ** (-np.arange(num_pairs) / num_pairs))[None]
            for place_N, num_pairs in zip(places, axis_pairs(len(grid_size), head_dim), strict=True)
        ],
        axis=1,
    )
    return np.stack([np.cos(angles_NK), np.sin(angles_NK)], axis=-1).astype(np.float32)


def axis_pairs(num_axes: int, head_dim: int) -> tuple[int, ...]:
    """Pairs of a head that turn with each axis: equally many, what is left with the first."""
    num_pairs = head_dim // 2
    each = num_pairs // num_axes
    return (num_pairs - (num_axes - 1) * each, *[each] * (num_axes - 1))


def check_rotary_heads(embed_dim: int, num_heads: int, grid_size: tuple[int, ...]) -> None:
    """Raises UserError unless the heads can turn with all axes of the grid.

    Pictures share pairs equally between row and column; clips need one for each axis.
    """
    multiple, least = (4, 4) if len(grid_size) == 2 else (2, 2 * len(grid_size))
    most = MOST_ANGLES // math.prod(grid_size)
    check_heads(embed_dim, num_heads, multiple, most, least)


def turned_rows(row_D: jax.Array, rope_BTK2: jax.Array) -> jax.Array:
    """One row at many positions, `[B, T, D]`: its heads are turned as queries and keys are."""
    B, T, pairs, _ = rope_BTK2.shape
    row_BHTK = jnp.broadcast_to(
        row_D.reshape(1, -1, 1, 2 * pairs), (B, row_D.size // (2 * pairs), T, 2 * pairs)
    )
    return rotate(row_BHTK, rope_BTK2).swapaxes(1, 2).reshape(B, T, row_D.size)


def rotate(x_BHTK: jax.Array, rope_TK2: jax.Array) -> jax.Array:
    """Turns adjacent pairs (2i, 2i + 1) of queries or keys, in float32.

    `rope_TK2` is one for all images, or `[B, T, K / 2, 2]`, one for each. Where it is zero, queries
    and keys vanish: so do slots without a position in the released models.
    """
    pairs = x_BHTK.astype(jnp.float32).reshape(*x_BHTK.shape[:-1], -1, 2)
    heads = (None, None) if rope_TK2.ndim == 3 else (slice(None), None)
    cos_11TK, sin_11TK = rope_TK2[*heads, ..., 0], rope_TK2[*heads, ..., 1]
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack(
        [even * cos_11TK - odd * sin_11TK, odd * cos_11TK + even * sin_11TK], axis=-1
    )
    return turned.reshape(x_BHTK.shape).astype(x_BHTK.dtype)
