"""PAR one token at a time, and LlamaGen, with rows that overlap: ZipAR (arXiv 2412.04062).

The weights are as they are; only what is drawn when differs, and that a row sees no cell which is
not there yet. A token is predicted from the one before it in raster order. That of a row's first
token is not there: in its place, for this one step, stands a token from above it. Letters: R rows
of the batch, N tokens of an image, P tokens of the previous group, Q tokens of the next, T rows of
one pass, M slots of the cache, H heads, K head width, D width, V codebook.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.scan import SLOT_AXIS, Step, StepRows
from lpd_jax.decoding.wavefront import step_of_cell, wavefront_order
from lpd_jax.models.layers import CacheWrite, KVCache, write_cache
from lpd_jax.models.llama_block import LlamaBlock, cached_kernels
from lpd_jax.models.par import PAR, init_cache
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.rotary import cell_rope
from lpd_jax.models.transformer import cast_matrices, class_rows, unstack_blocks

NOTHING = -1


class Plan(NamedTuple):
    """By rank of a token, int32 `[N]`: slots, which are ranks plus one, and a place."""

    left_slot: np.ndarray  # of the token before it, drawn one step earlier; or NOTHING
    stand_in_slot: np.ndarray  # where that is NOTHING, of the token that stands in for it
    stand_in_cell: np.ndarray  # raster position of the token that it stands in for


class OverlapCache(NamedTuple):
    """By slot: keys and values of each layer, and the tokens `[R, 1, M]`."""

    layers: tuple[KVCache, ...]
    tokens_R1M: jax.Array


@functools.lru_cache(maxsize=64)
def make_plan(grid: tuple[int, ...], window: int) -> Plan:
    """Of which row of a pass each token is read off.

    The last cell of the row above is not drawn when a row begins. For it stands, as in the released
    code, the last token that the row above that one has by then.
    """
    width, order_N, step_N = grid[-1], wavefront_order(grid, window), step_of_cell(grid, window)
    slot_of_cell = np.empty(len(order_N), np.int32)
    slot_of_cell[order_N] = 1 + np.arange(len(order_N))
    before_N = order_N - 1  # -1, before the first cell, is the class in slot 0
    is_there = (order_N == 0) | (step_N[before_N] < step_N[order_N])
    left_slot = np.where(is_there, np.where(order_N == 0, 0, slot_of_cell[before_N]), NOTHING)
    two_above = np.maximum(order_N // width - 2, 0) * width
    num_there = np.where(two_above == 0, width, min(width, 2 * window))
    stand_in_slot = slot_of_cell[two_above + num_there - 1]
    return Plan(left_slot, stand_in_slot, np.maximum(before_N, 0))


def overlap_decoder(
    config: PARConfig, params: Any, labels_R: jax.Array, window: int, dtype: Any
) -> tuple[Step, OverlapCache]:
    """The cached model as the scan calls it, for `wavefront_schedule` and `wavefront_order`."""
    params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
    class_R1D = class_rows(params["class_embed"], labels_R)

    def step(rows: StepRows, cache: OverlapCache):
        return overlap_step(config, params, class_R1D, window, rows, cache)

    tokens_R1M = jnp.zeros((len(labels_R), 1, 0), jnp.int32)
    return step, OverlapCache(init_cache(config, len(labels_R), dtype), tokens_R1M)


def overlap_step(
    config: PARConfig,
    params: Any,
    class_R1D: jax.Array,
    window: int,
    rows: StepRows,
    cache: OverlapCache,
) -> tuple[jax.Array, OverlapCache]:
    """One cached pass: the previous group's tokens, and one that stands in where a row begins.

    Args:
        params: with unstacked blocks; see `unstack_blocks`.
        class_R1D: what slot 0 holds.
        rows: of the step table; all images have the order of `window`.
        cache: its products are in its dtype.

    Returns:
        Float32 logits `[R, Q, V]` and the new cache.
    """
    plan = make_plan(config.grid_size, window)
    left_slot, stand_in_slot, stand_in_cell = map(jnp.asarray, plan)
    model = PAR(config, cache.layers[0].k_BNMK.dtype).bind({"params": params})
    previous_start, num_previous = rows.previous_slots_P[0], len(rows.previous_slots_P)
    # Ranks past the last are padding: they read what the last one does.
    rank_Q = rows.query_start - 1 + jnp.arange(rows.query_positions_RQ.shape[1])
    rank_Q = jnp.minimum(rank_Q, config.num_tokens - 1)
    left_Q = left_slot[rank_Q]
    # The first that has none before it; a step begins one row at most.
    beginning = rank_Q[jnp.argmax(left_Q == NOTHING)]
    tokens_R1M = jax.lax.dynamic_update_slice_in_dim(
        cache.tokens_R1M, rows.previous_tokens_RP[:, None], previous_start, axis=2
    )
    slot_T = jnp.append(rows.previous_slots_P, beginning + 1)
    x_RTD = held_rows(params, class_R1D, rows, tokens_R1M, stand_in_slot[beginning], slot_T)
    cell_T = jnp.append(rows.previous_positions_RP[0], stand_in_cell[beginning])
    head_dim = config.embed_dim // config.num_heads
    rope_TK2 = jnp.asarray(cell_rope(config.grid_size, head_dim))[cell_T]
    rope_TK2 = jnp.where((slot_T == 0)[:, None, None], 0.0, rope_TK2)
    cell_T = jnp.where(slot_T == 0, NOTHING, cell_T)
    num_slots = tokens_R1M.shape[SLOT_AXIS]
    mask_TM = overlap_mask(config, window, cell_T, slot_T, rows.query_start, num_slots)
    new_layers = []
    for layer_params, layer_cache in zip(params["blocks"], cache.layers, strict=True):
        x_RTD, new_layer = overlap_block(
            config, layer_params, x_RTD, mask_TM, rope_TK2, slot_T, layer_cache
        )
        new_layers.append(new_layer)
    row_Q = jnp.where(left_Q == NOTHING, num_previous, left_Q - previous_start)
    x_RQD = jnp.take(x_RTD, jnp.clip(row_Q, 0, num_previous), axis=1)
    return model.to_logits(x_RQD), OverlapCache(tuple(new_layers), tokens_R1M)


def held_rows(
    params: Any,
    class_R1D: jax.Array,
    rows: StepRows,
    tokens_R1M: jax.Array,
    stand_in: jax.Array,
    slot_T: jax.Array,
) -> jax.Array:
    """What a pass reads, float32 `[R, T, D]`: the previous group, and the token that stands in.

    Args:
        stand_in: slot that this token is in.
        slot_T: slots that the rows are written to.
    """
    stand_in_R1 = jax.lax.dynamic_slice_in_dim(tokens_R1M[:, 0], stand_in, 1, axis=1)
    tokens_RT = jnp.concatenate([rows.previous_tokens_RP, stand_in_R1], axis=1)
    is_class_1T1 = (slot_T == 0)[None, :, None]
    return jnp.where(is_class_1T1, class_R1D, params["token_embed"][tokens_RT]).astype(jnp.float32)


def overlap_mask(
    config: PARConfig,
    window: int,
    cell_T: jax.Array,
    slot_T: jax.Array,
    query_start: jax.Array,
    num_slots: int,
) -> jax.Array:
    """What rows see, bool `[T, M]`: what is drawn and not behind them in raster order.

    The last row, which stands in, sees itself besides.
    """
    cell_of_slot = np.full(max(num_slots, config.num_tokens + 1), config.num_tokens)
    cell_of_slot[: config.num_tokens + 1] = [NOTHING, *wavefront_order(config.grid_size, window)]
    cell_M, slots_M = jnp.asarray(cell_of_slot[:num_slots]), jnp.arange(num_slots)
    is_drawn_M = slots_M < query_start
    seen_TM = is_drawn_M[None] & (cell_M[None] <= cell_T[:, None])
    is_last_T = jnp.arange(len(slot_T)) == len(slot_T) - 1
    # Rows of padding see what is drawn: no softmax is empty.
    seen_TM |= is_drawn_M[None] & (slot_T >= query_start)[:, None] & ~is_last_T[:, None]
    return seen_TM | (is_last_T[:, None] & (slots_M[None] == slot_T[-1]))


@functools.partial(jax.jit, static_argnums=0)
def overlap_block(
    config: PARConfig,
    params: Any,
    x_RTD: jax.Array,
    mask_TM: jax.Array,
    rope_TK2: jax.Array,
    slot_T: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """One layer of a cached pass. Jitted on its own, it is traced once for all layers."""
    block = LlamaBlock(config, *cached_kernels(cache)).bind({"params": params})

    def remember(k_RHTK: jax.Array, v_RHTK: jax.Array) -> KVCache:
        # What stands in lies where its row's first token will, which overwrites it.
        write = CacheWrite(slot_T[0], slot_T[-1], len(slot_T) - 1)
        return write_cache(cache, k_RHTK, v_RHTK, write)

    x_RTD, new_cache = block(x_RTD, mask_TM, rope_TK2, False, remember)
    assert new_cache is not None
    return x_RTD, new_cache
