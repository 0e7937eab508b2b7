"""Labels to tokens to pixels: the scan, the transformer and the tokenizer in one function.

Letters: B images, N tokens per image, H height, W width, C channels, R rows the transformer sees.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known, decode_tokens, join_pairs, to_raster
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.family import transformer_of
from lpd_jax.models.pixels import decode_images, pixels_dtype
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.models.weight_layout import row_strip
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.random_keys import random_key


def image_keys(seed: int, first_index: int, batch_size: int) -> jax.Array:
    """Keys `[B]` of images first_index, first_index + 1, ...: each from the seed and its index."""
    return keys_of(seed, first_index + jnp.arange(batch_size))


def keys_of(seed: int, index_B: jax.Array | np.ndarray) -> jax.Array:
    """Keys `[B]` of images by their index."""
    return jax.vmap(jax.random.fold_in, (None, 0))(random_key(seed), jnp.asarray(index_B))


@functools.partial(
    jax.jit,
    static_argnames=(
        "config",
        "schedule",
        "num_segments",
        "unseen_bytes",
        "keep_logits",
        "dtype",
    ),
)
def generate_ranked_tokens(
    config: TransformerConfig,
    params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    schedule: GroupSchedule,
    sampling: Sampling,
    guidance: Guidance,
    num_segments: int | None = None,
    unseen_bytes: float | None = None,
    keep_logits: bool = False,
    dtype: Any = jnp.float32,
    known: Known | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Tokens int32 `[B, N]` in generation order, and guided logits `[B, N, V]` or None.

    Takes what `generate_tokens` takes.
    """
    family = transformer_of(config)
    if num_segments is not None:
        unseen_bytes = math.inf
    elif unseen_bytes is None:
        unseen_bytes = device_choices().unseen_bytes
    if known is not None and not family.any_order:
        raise UserError(
            f"known: got tokens, allowed is None: {family.title} draws in one order only"
        )
    labels_R = labels_B
    if guidance.active:
        labels_R = join_pairs(labels_B, jnp.full_like(labels_B, config.null_class))
    step, cache = family.decoder(params, labels_R, schedule, dtype)
    return decode_tokens(
        step,
        cache,
        order_BN,
        keys_B,
        schedule=schedule,
        sampling=sampling,
        guidance=guidance,
        num_segments=family.num_segments(num_segments),
        unseen_bytes=unseen_bytes,
        keep_logits=keep_logits,
        known=known,
        pad_queries=family.pads_queries,
        row_strip=row_strip(params),
    )


def generate_tokens(
    config: TransformerConfig,
    params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    **choices: Any,
) -> jax.Array:
    """Draws tokens int32 `[B, N]`, in raster order.

    Args:
        config: of the transformer; static.
        params: its parameters; who draws often prepares them once by `Family.for_drawing`.
        labels_B: int32 class labels.
        order_BN: int32, generation rank -> raster position, one order per image.
        keys_B: one key per image, from `image_keys`.
        **choices: `schedule` (tokens per step; static), `sampling` (temperature, top-k, top-p),
            `guidance` (scale and its schedule), `num_segments` (see `decode_tokens`; None is the
            family's, and more where a scan reads more than `unseen_bytes` in vain; None is the
            device's), `dtype` (what the transformer computes in; sampling stays in float32), and
            `known` (tokens of the first ranks, of families that draw in any order).
    """
    tokens_BN, _ = generate_ranked_tokens(config, params, labels_B, order_BN, keys_B, **choices)
    return to_raster(tokens_BN, order_BN)


def generate_images(
    config: TransformerConfig,
    params: Any,
    tokenizer_config: Any,
    tokenizer_params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    output_size: int | None = None,
    **choices: Any,
) -> tuple[jax.Array, jax.Array]:
    """Draws pictures uint8 `[B, H, W, 3]` and their tokens int32 `[B, N]` in raster order.

    Takes the choices of `generate_tokens`, and the `output_size` of `decode_images`. Where the
    device likes it, the tokenizer computes in `dtype`, too.
    """
    tokens_BN = generate_tokens(config, params, labels_B, order_BN, keys_B, **choices)
    pixels = tokenizer_config, tokenizer_params, tokens_BN, config.grid_size, output_size
    images_BHWC = decode_images(*pixels, dtype=pixels_dtype(choices.get("dtype", jnp.float32)))
    return images_BHWC, tokens_BN
