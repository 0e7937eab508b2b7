"""Pictures to tokens and back, whichever tokenizer it is, compiled.

Letters: B images, N tokens of an image, H W pixels, C channels.
"""

import functools
from typing import Any

import jax

from lpd_jax.images import resize_bicubic
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.tokenizer_family import EXACT


@functools.partial(jax.jit, static_argnums=(0, 3))
def encode_images(
    config: Any, params: Any, images_BHWC: jax.Array, precision: str = EXACT
) -> jax.Array:
    """Tokens int32 `[B, N]` in raster order of pictures uint8 `[B, H, W, 3]`.

    `precision` is one of `ENCODE_PRECISIONS`: of all convolutions and products on the way.
    """
    with jax.default_matmul_precision(precision):
        tokens_Bhw = tokenizer_of(config).encode(params, images_BHWC)
    return tokens_Bhw.reshape(len(images_BHWC), -1)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def decode_images(
    config: Any,
    params: Any,
    tokens_BN: jax.Array,
    grid_size: tuple[int, ...],
    output_size: int | None = None,
) -> jax.Array:
    """Pictures uint8 `[B, H, W, 3]` of tokens int32 `[B, N]` in raster order.

    With `output_size` they are resized to that height, before pixels are rounded: PAR and LlamaGen
    draw 384 pixels and are judged at 256 (LlamaGen, arXiv 2406.06525, section 4).
    """
    family = tokenizer_of(config)
    images_BHWC = family.decode(params, tokens_BN.reshape(-1, *grid_size))
    if output_size is not None:
        height, width = images_BHWC.shape[-3:-1]
        size = (output_size, round(width * output_size / height))
        images_BHWC = resize_bicubic(images_BHWC, size)
    return family.to_bytes(images_BHWC)
