"""Pictures to tokens and back, whichever tokenizer it is, compiled.

Letters: B images, N tokens of an image, H W pixels, C channels.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.images import resize_bicubic
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.tokenizer_family import EXACT

# That a device takes at once.
MOST_IMAGES = 64
MOST_PIXELS = 2**22  # 64 pictures of 256x256, whose decoder takes 6 GB
MOST_FRAMES = 272  # 16 clips of 17 frames, whose tokenizer takes 3 GB at 64x64


def most_at_once(size: tuple[int, ...]) -> int:
    """Pictures (height, width), or clips (frames, height, width), for one run of a device."""
    *frames, height, width = size
    fitting = min(MOST_PIXELS // (height * width), MOST_FRAMES // math.prod(frames))
    return max(1, min(MOST_IMAGES, fitting))


def pixels_dtype(dtype: Any) -> Any:
    """What a decoder computes in beside a transformer that computes in `dtype`."""
    return dtype if device_choices().pixels_in_dtype else jnp.float32


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


@functools.partial(jax.jit, static_argnames=("config", "grid_size", "output_size", "dtype"))
def decode_images(
    config: Any,
    params: Any,
    tokens_BN: jax.Array,
    grid_size: tuple[int, ...],
    output_size: int | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Pictures uint8 `[B, H, W, 3]` of tokens int32 `[B, N]` in raster order.

    With `output_size` they are resized to that height, before pixels are rounded: PAR and LlamaGen
    draw 384 pixels and are judged at 256 (LlamaGen, arXiv 2406.06525, section 4). The decoder
    computes in `dtype`.
    """
    family = tokenizer_of(config)
    images_BHWC = family.decode(params, tokens_BN.reshape(-1, *grid_size), dtype=dtype)
    if output_size is not None:
        height, width = images_BHWC.shape[-3:-1]
        size = (output_size, round(width * output_size / height))
        images_BHWC = resize_bicubic(images_BHWC, size)
    return family.to_bytes(images_BHWC)
