"""Labels to tokens to pixels: the scan, the transformer and the tokenizer in one function.

Letters: B images, N tokens per image, H height, W width, C channels, R rows the transformer sees.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known, Step, StepRows, decode_tokens, join_pairs, to_raster
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.images import resize_bicubic, to_model_range, to_uint8
from lpd_jax.models import par
from lpd_jax.models.layers import CacheWrite, KVCache
from lpd_jax.models.lpd import LPD, LPDConfig, decode_step, init_cache
from lpd_jax.models.par_layout import PARConfig, par_schedule
from lpd_jax.models.transformer import cast_matrices, class_rows, unstack_blocks
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer
from lpd_jax.runtime.errors import UserError


def image_keys(seed: int, first_index: int, batch_size: int) -> jax.Array:
    """Keys `[B]` of images first_index, first_index + 1, ...: each from the seed and its index."""
    return keys_of(seed, first_index + jnp.arange(batch_size))


def keys_of(seed: int, index_B: jax.Array | np.ndarray) -> jax.Array:
    """Keys `[B]` of images by their index."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.asarray(index_B))


@functools.partial(
    jax.jit, static_argnames=("config", "schedule", "num_segments", "keep_logits", "dtype")
)
def generate_ranked_tokens(
    config: LPDConfig | PARConfig,
    params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    schedule: GroupSchedule,
    sampling: Sampling,
    guidance: Guidance,
    num_segments: int | None = None,
    keep_logits: bool = False,
    dtype: Any = jnp.float32,
    known: Known | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Tokens int32 `[B, N]` in generation order, and guided logits `[B, N, V]` or None."""
    labels_R = labels_B
    if guidance.active:
        labels_R = join_pairs(labels_B, jnp.full_like(labels_B, config.null_class))
    if isinstance(config, PARConfig):
        if known is not None:
            raise UserError("known: got tokens, allowed is None: PAR draws in one order only")
        step, cache = par_decoder(config, params, labels_R, schedule, dtype)
        # Single tokens, the transition, groups: cut there, no step is padded.
        num_segments = 3
    else:
        step, cache = lpd_decoder(config, params, labels_R, dtype)
    return decode_tokens(
        step,
        cache,
        order_BN,
        keys_B,
        schedule=schedule,
        sampling=sampling,
        guidance=guidance,
        num_segments=num_segments,
        keep_logits=keep_logits,
        known=known,
    )


def lpd_decoder(
    config: LPDConfig, params: Any, labels_R: jax.Array, dtype: Any
) -> tuple[Step, tuple[KVCache, ...]]:
    """LPD as the scan calls it, and the cache that it begins with."""
    # Once, outside the loop: casts, the slices of stacked weights, the class rows.
    params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
    class_R1D = LPD(config, dtype).bind({"params": params}).embed_class(labels_R)

    def step(rows: StepRows, cache: tuple[KVCache, ...]) -> tuple[jax.Array, tuple[KVCache, ...]]:
        model = LPD(config, dtype).bind({"params": params})
        previous_RPD = model.embed_tokens(rows.previous_tokens_RP, rows.previous_positions_RP)
        is_class_1P1 = (rows.previous_slots_P == 0)[None, :, None]
        previous_RPD = jnp.where(is_class_1P1, class_R1D, previous_RPD)
        write = CacheWrite(rows.previous_slots_P[0], rows.query_start, previous_RPD.shape[1])
        positions_RQ, mask_TM = rows.query_positions_RQ, rows.mask_TM
        return decode_step(config, params, previous_RPD, positions_RQ, mask_TM, write, cache)

    return step, init_cache(config, len(labels_R), 0, dtype)


def par_decoder(
    config: PARConfig, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
) -> tuple[Step, tuple[KVCache, ...]]:
    """PAR as the scan calls it: logits are read off the rows that it feeds back.

    Raises:
        ValueError: a schedule that is not the model's own.
    """
    if schedule != par_schedule(config):
        raise UserError(
            f"group_sizes: got {schedule.group_sizes}, allowed are {config.num_singles} single "
            f"tokens and then {config.num_parallel} at a time"
        )
    params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
    class_R1D = class_rows(params["class_embed"], labels_R)

    def step(rows: StepRows, cache: tuple[KVCache, ...]) -> tuple[jax.Array, tuple[KVCache, ...]]:
        held_RPD = params["token_embed"][rows.previous_tokens_RP]
        is_class_1P1 = (rows.previous_slots_P == 0)[None, :, None]
        held_RPD = jnp.where(is_class_1P1, class_R1D, held_RPD).astype(dtype)
        # Slot k predicts rank k; the first query is of rank query_start - 1.
        start, num_rows = rows.query_start - 1, rows.query_positions_RQ.shape[1]
        return par.decode_step(config, params, held_RPD, start, num_rows, cache)

    return step, par.init_cache(config, len(labels_R), dtype)


def generate_tokens(
    config: LPDConfig | PARConfig,
    params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    schedule: GroupSchedule,
    sampling: Sampling,
    guidance: Guidance,
    num_segments: int | None = None,
    dtype: Any = jnp.float32,
    known: Known | None = None,
) -> jax.Array:
    """Draws tokens int32 `[B, N]`, in raster order.

    Args:
        config: of the transformer; static.
        params: its parameters; see `unstack_blocks` about drawing often.
        labels_B: int32 class labels.
        order_BN: int32, generation rank -> raster position, one order per image.
        keys_B: one key per image, from `image_keys`.
        schedule: tokens per step; static.
        sampling: temperature, top-k, top-p.
        guidance: scale and its schedule.
        num_segments: see `decode_tokens`.
        dtype: what the transformer computes in; its sampling stays in float32.
        known: tokens of the first ranks, of LPD only; see `decode_tokens`.
    """
    tokens_BN, _ = generate_ranked_tokens(
        config,
        params,
        labels_B,
        order_BN,
        keys_B,
        schedule=schedule,
        sampling=sampling,
        guidance=guidance,
        num_segments=num_segments,
        dtype=dtype,
        known=known,
    )
    return to_raster(tokens_BN, order_BN)


def generate_images(
    config: LPDConfig | PARConfig,
    params: Any,
    tokenizer_config: VQConfig,
    tokenizer_params: Any,
    labels_B: jax.Array,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    output_size: int | None = None,
    **choices: Any,
) -> tuple[jax.Array, jax.Array]:
    """Draws pictures uint8 `[B, H, W, 3]` and their tokens int32 `[B, N]` in raster order.

    Takes the choices of `generate_tokens`, and the `output_size` of `decode_images`.
    """
    tokens_BN = generate_tokens(config, params, labels_B, order_BN, keys_B, **choices)
    images_BHWC = decode_images(
        tokenizer_config, tokenizer_params, tokens_BN, config.grid_size, output_size
    )
    return images_BHWC, tokens_BN


@functools.partial(jax.jit, static_argnums=0)
def encode_images(config: VQConfig, params: Any, images_BHWC: jax.Array) -> jax.Array:
    """Tokens int32 `[B, N]` in raster order of pictures uint8 `[B, H, W, 3]`."""
    tokenizer = VQTokenizer(config).bind({"params": params})
    return tokenizer.encode(to_model_range(images_BHWC)).reshape(len(images_BHWC), -1)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def decode_images(
    config: VQConfig,
    params: Any,
    tokens_BN: jax.Array,
    grid_size: tuple[int, int],
    output_size: int | None = None,
) -> jax.Array:
    """Pictures uint8 `[B, H, W, 3]` of tokens int32 `[B, N]` in raster order.

    With `output_size` they are resized to that height, before pixels are rounded: PAR and LlamaGen
    draw 384 pixels and are judged at 256 (LlamaGen, arXiv 2406.06525, section 4).
    """
    tokens_BHW = tokens_BN.reshape(-1, *grid_size)
    images_BHWC = VQTokenizer(config).bind({"params": params}).decode(tokens_BHW)
    if output_size is not None:
        height, width = images_BHWC.shape[1:3]
        size = (output_size, round(width * output_size / height))
        images_BHWC = resize_bicubic(images_BHWC, size)
    return to_uint8(images_BHWC)
