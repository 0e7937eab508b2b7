"""The scan: a whole decoding schedule as one compiled function, for any model family.

A family gives `step`, which turns rows of the step table into logits; this module feeds back the
previous group, guides, samples and writes. Letters: B images, M slots, P rows of the previous
group, Q query rows, V codebook, R rows of the batch that the model sees: B, or 2B with guidance.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lpd_jax.decoding.sampling import Guidance, Sampling, apply_guidance, noise_keys, sample_with
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.segments import Known, cut_schedule
from lpd_jax.decoding.step_table import (
    RowStrips,
    Segment,
    StepTable,
    decoding_mask,
    make_step_table,
)

SLOT_AXIS = 2  # of every leaf of a cache


class StepRows(NamedTuple):
    """What one decoding step gives a model, padded to the widths of its segment."""

    previous_tokens_RP: jax.Array
    previous_positions_RP: jax.Array
    previous_slots_P: jax.Array  # slot 0 is the class: its token and position mean nothing
    query_positions_RQ: jax.Array
    query_start: jax.Array  # slot of the first query
    mask_TM: jax.Array  # [P + Q rows, slots]


# (rows, cache) -> (logits [R, Q, V], cache)
Step = Callable[[StepRows, Any], tuple[jax.Array, Any]]


class DecodeState(NamedTuple):
    """Carried from step to step."""

    tokens_BM: jax.Array  # by slot; slot 0 stays unused, padding is written past the last token
    cache: Any


def decode_tokens(
    step: Step,
    cache: Any,
    order_BN: jax.Array,
    keys_B: jax.Array,
    *,
    schedule: GroupSchedule,
    sampling: Sampling,
    guidance: Guidance,
    num_segments: int | None = None,
    unseen_bytes: float = math.inf,
    keep_logits: bool = False,
    known: Known | None = None,
    pad_queries: bool = False,
    row_strip: int = 1,
) -> tuple[jax.Array, jax.Array | None]:
    """Draws all tokens of B images, or those that are not known.

    Args:
        step: the model, cached.
        cache: empty, a tree of arrays with 0 slots along `SLOT_AXIS`.
        order_BN: generation rank -> raster position.
        keys_B: one key per image.
        schedule: tokens per step; static.
        num_segments: consecutive scans that the schedule is cut into. More of them pad less and
            compile longer. None takes `step_table.NUM_SEGMENTS`.
        unseen_bytes: long scans that read more of the cache in vain are cut again.
        keep_logits: also return the guided logits.
        known: tokens of the first ranks, fed in one pass by the first step. A step then draws what
            `known.table` says, and at most what the schedule says.
        pad_queries: whether the model takes more queries than a step draws, as the device may like.
        row_strip: rows of the batch in whose multiples the model computes: cuts heed it.

    Returns tokens int32 `[B, N]` in generation order, and logits `[B, N, V]` (of the tokens that
    the schedule draws) or None. Raises UserError as `cut_schedule` does.
    """
    num_tokens = order_BN.shape[1]
    strips = RowStrips(row_strip, len(order_BN) * (2 if guidance.active else 1))
    unseen_slots = unseen_bytes / max(1, bytes_of_slot(cache))  # a family may have no cache
    segments = cut_schedule(
        schedule, num_segments, num_tokens, known, strips, pad_queries, unseen_slots
    )
    positions_BM, state, table = first_state(cache, order_BN, segments, schedule, known)
    keys_BM = noise_keys(keys_B, jnp.arange(positions_BM.shape[1]))
    draw = functools.partial(
        draw_group, step, positions_BM, keys_BM, num_tokens, sampling, guidance
    )
    tokens_BM, logits_BNV = draw_segments(draw, state, table, segments, schedule, keep_logits)
    return tokens_BM[:, 1 : 1 + num_tokens], logits_BNV


def draw_segments(
    draw: Callable[..., tuple[DecodeState, jax.Array | None]],
    state: DecodeState,
    table: StepTable,
    segments: tuple[Segment, ...],
    schedule: GroupSchedule,
    keep_logits: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """A scan for each segment: tokens `[B, M]` by slot, and logits `[B, N, V]` if kept.

    Args:
        draw: `draw_group` but for its last four arguments.
    """
    logits = []
    for segment in segments:
        steps = slice(segment.first_step, segment.first_step + segment.num_steps)
        state = state._replace(cache=grow_cache(state.cache, segment.num_slots))
        body = functools.partial(draw, segment, keep_logits)
        state, kept = jax.lax.scan(body, state, StepTable(*(column[steps] for column in table)))
        if kept is not None:
            sizes = schedule.group_sizes[steps]
            logits += [kept[i, :, :size] for i, size in enumerate(sizes)]
    return state.tokens_BM, jnp.concatenate(logits, axis=1) if keep_logits else None


def draw_group(
    step: Step,
    positions_BM: jax.Array,
    noise_keys_BM: jax.Array,
    num_tokens: int,
    sampling: Sampling,
    guidance: Guidance,
    segment: Segment,
    keep_logits: bool,
    state: DecodeState,
    row: StepTable,
) -> tuple[DecodeState, jax.Array | None]:
    """One step of a segment's scan, and its guided logits `[B, Q, V]` where they are kept."""
    rows = step_rows(state, positions_BM, row, segment, guidance)
    logits_RQV, new_cache = step(rows, state.cache)
    rank_Q = rows.query_start - 1 + jnp.arange(segment.query_width)
    logits_BQV = guided_logits(logits_RQV, guidance, rank_Q, num_tokens, row)
    keys_BQ = jax.lax.dynamic_slice_in_dim(noise_keys_BM, rank_Q[0], len(rank_Q), axis=1)
    tokens_BQ = sample_with(keys_BQ, logits_BQV, sampling)
    tokens_BM = jax.lax.dynamic_update_slice_in_dim(
        state.tokens_BM, tokens_BQ, rows.query_start, axis=1
    )
    return DecodeState(tokens_BM, new_cache), logits_BQV if keep_logits else None


def first_state(
    cache: Any,
    order_BN: jax.Array,
    segments: tuple[Segment, ...],
    schedule: GroupSchedule,
    known: Known | None,
) -> tuple[jax.Array, DecodeState, StepTable]:
    """Positions `[B, M]` by slot, what the first step is given, and a row for each step."""
    padding = max(max(s.previous_width, s.query_width) for s in segments)
    # By slot: one place for the class in front, room for padded reads and writes behind.
    positions_BM = jnp.pad(order_BN, ((0, 0), (1, padding)))
    tokens_BM = jnp.zeros(positions_BM.shape, jnp.int32)
    table = make_step_table(schedule)
    if known is not None:
        tokens_BM = jax.lax.dynamic_update_slice_in_dim(
            tokens_BM, jnp.asarray(known.tokens_BK), 1, axis=1
        )
        table = known.table
    return positions_BM, DecodeState(tokens_BM, cache), table


def bytes_of_slot(cache: Any) -> int:
    """Of all leaves together, for the whole batch."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda: grow_cache(cache, 1)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def grow_cache(cache: Any, num_slots: int) -> Any:
    """The cache with `num_slots` slots.

    A segment has no more slots than it reads: to read a part of a longer cache would copy it.
    """

    def grow(leaf: jax.Array) -> jax.Array:
        padding = [(0, 0)] * leaf.ndim
        padding[SLOT_AXIS] = (0, num_slots - leaf.shape[SLOT_AXIS])
        return jnp.pad(leaf, padding)

    return jax.tree.map(grow, cache)


def step_rows(
    state: DecodeState,
    positions_BM: jax.Array,
    row: StepTable,
    segment: Segment,
    guidance: Guidance,
) -> StepRows:
    """Reads one row of the step table: the previous group's tokens, the next group's positions."""
    previous_start, query_start, _ = map(jnp.asarray, row)

    def window(x_BM: jax.Array, start: jax.Array, width: int) -> jax.Array:
        x_BT = jax.lax.dynamic_slice_in_dim(x_BM, start, width, axis=1)
        # The one place where guidance doubles the batch.
        return join_pairs(x_BT, x_BT) if guidance.active else x_BT

    return StepRows(
        window(state.tokens_BM, previous_start, segment.previous_width),
        window(positions_BM, previous_start, segment.previous_width),
        previous_start + jnp.arange(segment.previous_width),
        window(positions_BM, query_start, segment.query_width),
        query_start,
        decoding_mask(segment, row),
    )


def guided_logits(
    logits_RQV: jax.Array, guidance: Guidance, rank_Q: jax.Array, num_tokens: int, row: StepTable
) -> jax.Array:
    """The logits of each image: those of its pair combined, or without guidance its only ones."""
    if not guidance.active:
        return logits_RQV
    cond_BQV, uncond_BQV = split_pairs(logits_RQV)
    scale_Q = guidance.scale_of_rank(rank_Q, num_tokens, row.query_end_S)
    return apply_guidance(cond_BQV, uncond_BQV, scale_Q)


def join_pairs(cond_B: jax.Array, uncond_B: jax.Array) -> jax.Array:
    """[B, ...] twice -> [2B, ...], row 2i conditional and 2i + 1 unconditional.

    Side by side, a pair is on one device wherever the batch is cut, so that guidance sends nothing
    from device to device.
    """
    return jnp.stack([cond_B, uncond_B], axis=1).reshape(-1, *cond_B.shape[1:])


def split_pairs(x_R: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What `join_pairs` joined."""
    pairs_B2 = x_R.reshape(-1, 2, *x_R.shape[1:])
    return pairs_B2[:, 0], pairs_B2[:, 1]


def to_raster(tokens_BN: jax.Array, order_BN: jax.Array) -> jax.Array:
    """Puts tokens `[B, N]` from generation order into raster order."""
    # Image by image: with indices of images, devices would exchange them.
    scatter = jax.vmap(lambda tokens_N, order_N: jnp.zeros_like(tokens_N).at[order_N].set(tokens_N))
    return scatter(tokens_BN, order_BN)
