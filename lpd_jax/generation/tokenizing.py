"""Pictures and clips of any number and size to tokens and back, in batches of a few sizes.

Letters: B images, N tokens of an image, h w their grid, H W pixels; T frames of a clip.
"""

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from lpd_jax.generation.batches import batch_size_for, pad_rows
from lpd_jax.generation.pillow import as_arrays
from lpd_jax.generation.programs import Programs
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.pixels import decode_images, encode_images
from lpd_jax.runtime.arguments import as_array
from lpd_jax.runtime.errors import UserError


def encode_pictures(config: Any, params: Any, images: Any, programs: Programs) -> np.ndarray:
    """Tokens int32 `[B, h, w]` of pictures uint8 `[B, H, W, 3]`, or of clips `[B, T, H, W, 3]`.

    Args:
        programs: keeps what is compiled for each size.

    Raises:
        UserError: pictures of another type, or of a size that is no whole number of tokens.
    """
    family = tokenizer_of(config)
    allowed = f"is uint8 [batch, {', '.join(family.axes)}, 3]"
    images_BHWC = as_array("images", as_arrays(images), allowed)
    if images_BHWC.dtype != np.uint8 or images_BHWC.ndim < 4 or images_BHWC.shape[-1] != 3:
        raise UserError(f"images: got {images_BHWC.dtype} {images_BHWC.shape}, allowed {allowed}")
    grid = family.grid_of(images_BHWC.shape[1:-1])
    encode = functools.partial(encode_images, config)
    size = images_BHWC.shape[1:-1]
    tokens_BN = in_batches(programs, "encode", encode, params, images_BHWC, size)
    return tokens_BN.reshape(-1, *grid)


def decode_pictures(
    config: Any, params: Any, tokens: Any, grid: tuple[int, ...], programs: Programs
) -> np.ndarray:
    """Pictures uint8 `[B, H, W, 3]` of tokens `[B, N]` or `[B, h, w]` of a grid (h, w).

    Of clips a grid is (t, h, w), and they are `[B, T, H, W, 3]`.

    Args:
        programs: keeps what is compiled for each size.

    Raises:
        UserError: tokens of another type or shape, or that are in no codebook.
    """
    axes = tokenizer_of(config).axes
    tokens = as_array("tokens", tokens, "are whole numbers [batch, tokens]")
    whole = np.issubdtype(tokens.dtype, np.integer) and tokens.ndim > 1 and all(tokens.shape[1:])
    if not whole or math.prod(tokens.shape[1:]) != math.prod(grid) or len(grid) != len(axes):
        raise UserError(
            f"tokens: got {tokens.dtype} {tokens.shape}, allowed are whole numbers "
            f"[batch, {math.prod(grid)}], or [batch, {', '.join(axes)}] of any grid"
        )
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < config.codebook_size:
        raise UserError(
            f"tokens: got {tokens.min()} to {tokens.max()}, allowed are 0 to "
            f"{config.codebook_size - 1}"
        )
    tokens_BN = tokens.astype(np.int32).reshape(len(tokens), math.prod(grid))

    def decode(params: Any, rows: Any) -> jax.Array:
        return decode_images(config, params, rows, grid)

    size = tokenizer_of(config).size_of(grid)
    return in_batches(programs, ("decode", grid), decode, params, tokens_BN, size)


def rows_at_once(count: int, size_of_picture: tuple[int, ...]) -> int:
    """How many of so many pictures are encoded or decoded at once."""
    *frames, height, width = size_of_picture
    return batch_size_for(count, math.prod(frames), height * width)


def in_batches(
    programs: Programs,
    name: Hashable,
    function: Callable[[Any, Any], jax.Array],
    params: Any,
    inputs: np.ndarray,
    size_of_picture: tuple[int, ...],
) -> np.ndarray:
    """Joins function(params, batch) over batches of one size; the last is filled with repeats.

    Args:
        name: of the function, among the programs.
        size_of_picture: (height, width) of each in pixels, or (frames, height, width).
    """
    if not len(inputs):
        raise UserError(f"batch: got {len(inputs)} pictures, allowed are 1 and more")
    size = rows_at_once(len(inputs), size_of_picture)
    first = pad_rows(inputs[:size], max(0, size - len(inputs)))
    run = programs.find(
        (name, first.shape), lambda: jax.jit(function).lower(params, first).compile()
    )
    whole: Any = None
    for start in range(0, len(inputs), size):
        rows = inputs[start : start + size]
        outputs = jax.device_get(run(params, pad_rows(rows, size - len(rows))))
        if whole is None:  # filled as they come: joined at the end, they would stand twice
            whole = np.empty((len(inputs), *outputs.shape[1:]), outputs.dtype)
        whole[start : start + size] = outputs[: len(rows)]
    return whole
