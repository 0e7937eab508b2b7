"""RandAR (arXiv 2412.01827): LlamaGen's decoder in any order, by position instruction tokens.

Before each token comes an instruction that asks for its position, one learned vector turned to
that position, and is kept in the cache like a token. The sequence is causal: [class, P0, t0, P1,
t1, ...]. A decoding step asks for several positions at once; when their tokens are there, all but
the first instruction are computed again, each in its place between the tokens. Dimension key: B
batch, N tokens of an image (ranks in generation order), P tokens of the previous group, Q query
rows, T rows of one pass, M slots of the cache (each of two rows) or its rows, H heads, K head
width, D width, V codebook.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.decoding.scan import SLOT_AXIS, StepRows
from lpd_jax.models.dropout import Dropout
from lpd_jax.models.layers import CacheWrite, KVCache, empty_cache, write_groups
from lpd_jax.models.llama_block import LlamaBlock, cached_kernels, rms_norm, zero_head
from lpd_jax.models.llama_sizes import LlamaSizes
from lpd_jax.models.rotary import cell_rope, turned_rows
from lpd_jax.models.transformer import (
    TokenTransformer,
    class_rows,
    embedding_table,
    scan_blocks,
    whole,
)
from lpd_jax.runtime.mesh import constrain


@dataclasses.dataclass(frozen=True)
class RandARConfig(LlamaSizes):
    """Sizes of a RandAR transformer."""


RANDAR_MODELS = {
    "randar_l": RandARConfig(24, 1024, 16),
    "randar_xl": RandARConfig(36, 1280, 20),
    "randar_xxl": RandARConfig(48, 1536, 24),
    "randar_l_maskgit": RandARConfig(24, 1024, 16, codebook_size=1024),  # MaskGIT's tokenizer
}


class RandAR(TokenTransformer):
    """The transformer. `__call__` is the pass of training, `decode_step` the cached one."""

    config: RandARConfig

    def setup(self):
        cfg = self.config

        def table(name: str, rows: int, axis: str | None = None) -> jax.Array:
            return embedding_table(self, name, rows, cfg.embed_dim, axis, cfg.embedding_std)

        self.class_embed = table("class_embed", cfg.num_classes + 1)
        self.token_embed = table("token_embed", cfg.codebook_size, "codebook")
        self.query_embed = table("query_embed", 1)
        self.token_drop = Dropout(cfg.token_drop_rate)
        stacked = scan_blocks(LlamaBlock, cfg.num_layers, 3, self.remat, self.unroll_layers)
        self.blocks = stacked(cfg, self.dtype, self.attention, self.products)
        self.norm = rms_norm(None, self.dtype)
        self.head = zero_head(cfg.codebook_size, self.dtype, self.products)

    def __call__(
        self,
        tokens_BN: jax.Array,
        labels_B: jax.Array,
        order_BN: jax.Array,
        group_N: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Logits of all tokens, each predicted from those before it.

        The 2N rows that matter: the official code feeds the last token too, which nobody looks at.

        Args:
            tokens_BN: int32, raster order.
            labels_B: int32 class labels; `config.null_class` is no class.
            order_BN: int32, generation rank -> raster position.
            group_N: int32, the decoding step that writes each rank, or `[B, N]` that of each image:
                N more rows ask as steps of several tokens do, blind to the tokens of their own
                group. None is one token a step, as in training.
            train: dropout, with the rng named "dropout".

        Returns:
            Float32 `[B, N, V]` in generation order.
        """
        num_tokens = self.config.num_tokens
        ranked_BN = jnp.take_along_axis(tokens_BN, order_BN, axis=1)
        token_BND = whole(self.token_embed)[ranked_BN]
        token_BND = self.token_drop(token_BND, deterministic=not train)
        rope_BNK2 = self.rope_of(order_BN)
        query_BND = self.embed_queries(rope_BNK2)
        pairs_BTD = interleave(query_BND, token_BND)[:, :-1]
        class_B1D = class_rows(self.class_embed, labels_B)
        x_BTD = jnp.concatenate([class_B1D, pairs_BTD], axis=1)
        rope_BTK2 = jnp.pad(
            interleave(rope_BNK2, rope_BNK2)[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0))
        )
        mask_TT = jnp.tri(2 * num_tokens, dtype=bool)
        asking = slice(1, None, 2)
        if group_N is not None:
            x_BTD = jnp.concatenate([x_BTD, query_BND], axis=1)
            rope_BTK2 = jnp.concatenate([rope_BTK2, rope_BNK2], axis=1)
            mask_TT = grouped_mask(group_N)
            asking = slice(2 * num_tokens, None)
        x_BTD = constrain(x_BTD.astype(jnp.float32), "act_batch", "act_len", "act_embed")
        x_BTD, _ = self.blocks(x_BTD, mask_TT, rope_BTK2, train)
        return self.to_logits(x_BTD[:, asking])

    def rope_of(self, positions_BT: jax.Array) -> jax.Array:
        """Turns `[B, T, K / 2, 2]` of raster positions."""
        return jnp.asarray(cell_rope(self.config.grid_size, self.config.head_dim))[positions_BT]

    def embed_queries(self, rope_BTK2: jax.Array) -> jax.Array:
        """Position instruction tokens `[B, T, D]`: attention turns them a second time."""
        return turned_rows(self.query_embed, rope_BTK2)

    def example_inputs(self) -> tuple[jax.Array, ...]:
        """Arguments of the smallest forward pass, for `init`."""
        order_1N = jnp.arange(self.config.num_tokens)[None]
        return jnp.zeros_like(order_1N), jnp.zeros((1,), jnp.int32), order_1N


def interleave(first_BN: jax.Array, second_BN: jax.Array) -> jax.Array:
    """`[B, N, ...]` twice -> `[B, 2N, ...]`, in turns."""
    B, N, *rest = first_BN.shape
    return jnp.stack([first_BN, second_BN], axis=2).reshape(B, 2 * N, *rest)


def grouped_mask(group_N: jax.Array) -> jax.Array:
    """What the 2N rows of a training pass and N more that ask see, bool `[3N, 3N]`, or of images.

    A row that asks sees the class and what belongs to earlier groups, tokens and instructions, and
    those of its own group that ask before it. Nobody else sees it.
    """
    if jnp.ndim(group_N) > 1:
        return jax.vmap(grouped_mask)(group_N)
    group_N, num_tokens = jnp.asarray(group_N), len(group_N)
    kept_T = jnp.repeat(group_N, 2)[:-1]  # instruction and token of each rank
    earlier = kept_T[None] < group_N[:, None]
    own = (group_N[None] == group_N[:, None]) & jnp.tri(num_tokens, dtype=bool)
    asking = jnp.concatenate([jnp.ones((num_tokens, 1), bool), earlier, own], axis=1)
    kept = jnp.pad(jnp.tri(2 * num_tokens, dtype=bool), ((0, 0), (0, num_tokens)))
    return jnp.concatenate([kept, asking])


def init_cache(
    config: RandARConfig, batch_size: int, dtype: jnp.dtype = jnp.float32
) -> tuple[KVCache, ...]:
    """A cache of no slots, one entry per layer; decoding grows it.

    A slot has two rows, `[B, H, M, 2, K]`: of the instruction, and of the token after it. One
    behind the other they are the sequence that the model was trained on.
    """
    shape = (batch_size, config.num_heads, 0, 2, config.head_dim)
    return empty_cache(config.num_layers, shape, dtype)


def decode_step(
    config: RandARConfig,
    params: Any,
    class_B1D: jax.Array,
    rows: StepRows,
    cache: tuple[KVCache, ...],
) -> tuple[jax.Array, tuple[KVCache, ...]]:
    """One cached pass: the previous group's tokens, its instructions again, the next group's.

    Instructions that are asked stand row by row, where tokens will come between them: the next
    pass writes all but the first again. That one saw no other, and is there as it must be.

    Args:
        params: with unstacked blocks; see `unstack_blocks`.
        class_B1D: what slot 0 holds, whose instruction nobody sees.
        rows: of the step table, one for each token.
        cache: keys and values of each layer; the products of the pass are in their dtype.

    Returns:
        Float32 logits `[B, Q, V]` and the new cache.
    """
    dtype = cache[0].k_BNMK.dtype
    model = RandAR(config, dtype).bind({"params": params})
    x_BTD, rope_BTK2 = embed_step(model, class_B1D, rows)
    num_previous, num_rows = 2 * len(rows.previous_slots_P) - 1, x_BTD.shape[1]
    x_BTD, rope_BTK2 = pad_rows(x_BTD), pad_rows(rope_BTK2)
    query_start = 2 * rows.query_start
    # Where edits feed back a group of none, the pass that drew none has asked its first query.
    previous_start = 2 * rows.previous_slots_P[0] + 1
    mask_TM = rows_mask(rows, x_BTD.shape[1], previous_start)
    new_cache = []
    for layer_params, layer_cache in zip(params["blocks"], cache, strict=True):
        x_BTD, new_layer_cache = decode_block(
            config,
            num_previous,
            num_rows,
            layer_params,
            x_BTD,
            mask_TM,
            rope_BTK2,
            previous_start,
            query_start,
            layer_cache,
        )
        new_cache.append(new_layer_cache)
    return model.to_logits(x_BTD[:, num_previous:num_rows]), tuple(new_cache)


def rows_mask(rows: StepRows, num_rows: int, previous_start: jax.Array) -> jax.Array:
    """The step's mask by rows of the cache, bool `[T, 2M]`: besides, each sees none behind it.

    Args:
        num_rows: T, padding included.
        previous_start: row of the cache where the first of them is.
    """
    num_slots, P = rows.mask_TM.shape[1], len(rows.previous_slots_P)
    query_start, num_previous = 2 * rows.query_start, 2 * P - 1
    row_T, row_M = jnp.arange(num_rows), jnp.arange(2 * num_slots)
    is_previous_T = row_T < num_previous
    place_T = row_T + jnp.where(is_previous_T, previous_start, query_start - num_previous)
    step_row_T = jnp.where(is_previous_T, (row_T + 1) // 2, row_T - num_previous + P)
    slot_M = jnp.where(row_M < query_start, row_M // 2, row_M - rows.query_start)
    by_slot_TM = jnp.take(rows.mask_TM, step_row_T, axis=0, mode="clip")
    seen_TM = jnp.take(by_slot_TM, slot_M, axis=1, mode="clip")
    return seen_TM & (row_M > 0)[None] & (row_M[None] <= place_T[:, None])


def embed_step(model: RandAR, class_B1D: jax.Array, rows: StepRows) -> tuple[jax.Array, jax.Array]:
    """Rows of a cached pass, float32 `[B, 2P - 1 + Q, D]`, and their turns.

    They are [t0, I1, t1, I2, t2, ...] of the previous group, then the next group's instructions.
    """
    is_class_P = rows.previous_slots_P == 0
    token_BPD = model.token_embed[rows.previous_tokens_RP]
    token_BPD = jnp.where(is_class_P[None, :, None], class_B1D, token_BPD)
    rope_BPK2 = model.rope_of(rows.previous_positions_RP)
    rope_BPK2 = jnp.where(is_class_P[None, :, None, None], 0.0, rope_BPK2)
    asked_BQK2 = model.rope_of(rows.query_positions_RQ)
    pairs_BTD = interleave(model.embed_queries(rope_BPK2), token_BPD)[:, 1:]
    x_BTD = jnp.concatenate([pairs_BTD, model.embed_queries(asked_BQK2)], axis=1)
    rope_BTK2 = jnp.concatenate([interleave(rope_BPK2, rope_BPK2)[:, 1:], asked_BQK2], axis=1)
    return x_BTD.astype(jnp.float32), rope_BTK2


def pad_rows(rows_BT: jax.Array) -> jax.Array:
    """As many rows as the device likes to multiply at once: the last one again, for nobody."""
    missing = device_choices().padded(rows_BT.shape[1]) - rows_BT.shape[1]
    padding = [(0, 0), (0, missing), *[(0, 0)] * (rows_BT.ndim - 2)]
    return jnp.pad(rows_BT, padding, mode="edge")


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def decode_block(
    config: RandARConfig,
    num_previous: int,
    num_rows: int,
    params: Any,
    x_BTD: jax.Array,
    mask_TM: jax.Array,
    rope_BTK2: jax.Array,
    previous_start: jax.Array,
    query_start: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """One layer of a cached pass. Jitted on its own, it is traced once for all layers."""
    by_slot = cache.k_BNMK.shape
    by_row = (*by_slot[:SLOT_AXIS], -1, by_slot[-1])
    old_rows = KVCache(*(x.reshape(by_row) for x in cache))
    write = CacheWrite(previous_start, query_start, num_previous)

    def remember(k_BHTK: jax.Array, v_BHTK: jax.Array) -> KVCache:
        # Padding has no room in the cache.
        return write_groups(old_rows, k_BHTK[:, :, :num_rows], v_BHTK[:, :, :num_rows], write)

    block = LlamaBlock(config, *cached_kernels(cache)).bind({"params": params})
    x_BTD, new_rows = block(x_BTD, mask_TM, rope_BTK2, False, remember)
    return x_BTD, KVCache(*(x.reshape(by_slot) for x in new_rows))
