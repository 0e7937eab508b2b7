"""Learned tables of positions, fitted to another grid.

Letters: H height, W width, D width of the model, N tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from lpd_jax.images import resize_bicubic
from lpd_jax.runtime.errors import UserError


def resize_position_embedding(
    params_or_table: Any, from_grid: tuple[int, ...], to_grid: tuple[int, ...]
) -> Any:
    """Bicubic resize of an LPD's position table: 512-pixel training starts from 256 weights.

    The row of the class slot stays as it is. The others, in raster order, are resized as an image
    of D channels, as torch's `interpolate(mode="bicubic")` resizes.

    Args:
        params_or_table: the table `[N + 1, D]`, or nested parameters, of which a copy with the new
            table is returned that shares the other leaves.
        from_grid: (height, width) of the table.
        to_grid: (height, width) wanted. Grids of clips are kept as they are.

    Raises:
        ValueError: the table has not the rows of `from_grid`, or `to_grid` is empty.
        UserError: another grid of, or for, clips.
    """
    if isinstance(params_or_table, Mapping):
        table = resize_position_embedding(params_or_table["position_embed"], from_grid, to_grid)
        return {**params_or_table, "position_embed": table}
    table = jnp.asarray(params_or_table)
    if table.ndim != 2 or table.shape[0] != math.prod(from_grid) + 1:
        raise ValueError(
            f"position_embed: got shape {table.shape}, allowed for grid {from_grid} is "
            f"[{math.prod(from_grid) + 1}, D]"
        )
    if tuple(from_grid) == tuple(to_grid):
        return table
    if 3 in (len(from_grid), len(to_grid)):
        raise UserError(
            f"grid_size: got {tuple(to_grid)}, allowed is that of the weights, {tuple(from_grid)}: "
            "tables of clips' positions are not resized"
        )
    if len(to_grid) != 2 or min(to_grid) < 1:
        raise ValueError(f"to_grid: got {to_grid}, allowed is (height, width), each from 1")
    image_BHWD = table[1:].astype(jnp.float32).reshape(1, *from_grid, -1)
    rows_ND = resize_bicubic(image_BHWD, to_grid).reshape(math.prod(to_grid), -1)
    return jnp.concatenate([table[:1], rows_ND.astype(table.dtype)])
