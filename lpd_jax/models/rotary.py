"""Rotary positions in two dimensions, as LlamaGen (arXiv 2406.06525) has them.

Letters: N cells of the grid, T rows of one pass, H heads, K head width.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

ROPE_BASE = 10000.0


def cell_rope(grid_size: tuple[int, int], head_dim: int) -> np.ndarray:
    """(cos, sin) of each pair of a head in each cell, float32 `[N, K / 2, 2]`, raster order.

    The first half of the pairs turns with the row, the second with the column.
    """
    num_pairs, num_cells = head_dim // 2, math.prod(grid_size)
    turns = ROPE_BASE ** (-2 * np.arange(num_pairs // 2) / num_pairs)
    places_N2 = np.stack(np.divmod(np.arange(num_cells), grid_size[1]), axis=1)
    angles_NK = (places_N2[:, :, None] * turns[None, None]).reshape(num_cells, num_pairs)
    return np.stack([np.cos(angles_NK), np.sin(angles_NK)], axis=-1).astype(np.float32)


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
