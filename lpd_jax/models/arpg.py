"""ARPG (arXiv 2503.10568): any order, by queries that cross into one shared memory.

The first half of the layers reads the tokens, causally, and makes one set of keys and values of
them. In the second half, queries, one learned vector turned to the positions that are asked for,
look at that memory alone: they are blind to each other, and none is kept. Dimension key: B batch,
N tokens of an image (ranks in generation order), P rows of the previous group, Q query rows,
T rows of one pass, M slots of the cache, H heads, K head width, D width, V codebook.
"""

import functools
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.decoding.scan import SLOT_AXIS, StepRows
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.models.arpg_sizes import ARPGConfig
from lpd_jax.models.attention import KERNELS
from lpd_jax.models.dropout import Dropout
from lpd_jax.models.layers import KVCache, empty_cache, put_rows
from lpd_jax.models.llama_block import (
    LlamaBlock,
    LlamaLayer,
    cached_kernels,
    keep_apart,
    matrix,
    rms_norm,
    split_heads,
    zero_head,
)
from lpd_jax.models.rotary import cell_rope, rotate, turned_rows
from lpd_jax.models.transformer import (
    TokenTransformer,
    class_rows,
    embedding_table,
    scan_blocks,
    whole,
)
from lpd_jax.runtime.mesh import constrain


class ContentBlock(LlamaBlock):
    """A block of the half that reads: its three matrices are apart."""

    def project(self, h_BTD: jax.Array) -> tuple[jax.Array, ...]:
        names = ("query", "key", "value")
        same = keep_apart(h_BTD, len(names))
        parts = [
            self.dense(self.config.embed_dim, name)(same_BTD)
            for name, same_BTD in zip(names, same, strict=True)
        ]
        return tuple(self.split_heads(part_BTC)[0] for part_BTC in parts)


class QueryBlock(LlamaLayer):
    """A block of the half that asks: it looks at the memory, and has no keys of its own."""

    @nn.compact
    def __call__(
        self,
        x_BQD: jax.Array,
        memory: KVCache,
        mask_QM: jax.Array,
        rope_BQK2: jax.Array,
        train: bool = False,
    ) -> tuple[jax.Array, None]:
        h_BQD = rms_norm("attention_norm", self.dtype)(x_BQD)
        query_BQC = self.dense(self.config.embed_dim, "query")(h_BQD)
        q_BHQK = rotate(self.split_heads(query_BQC)[0], rope_BQK2)
        mixed_BHQK = KERNELS[self.attention](q_BHQK, *memory, mask_QM)
        x_BQD = self.add_attended(x_BQD, mixed_BHQK, train)
        return self.add_mlp(x_BQD, train), None


class Blocks(nn.Module):
    """The stacked layers of both halves."""

    config: ARPGConfig
    dtype: jnp.dtype
    attention: str
    remat: str
    products: str
    unroll_layers: bool

    def setup(self):
        sizes = self.config, self.dtype, self.attention, self.products
        how = self.remat, self.unroll_layers
        content = scan_blocks(ContentBlock, self.config.half, 3, *how)
        query = scan_blocks(QueryBlock, self.config.half, 4, *how)
        self.content, self.query = content(*sizes), query(*sizes)


class ARPG(TokenTransformer):
    """The transformer. `__call__` is the teacher-forced pass, `decode_step` the cached one."""

    config: ARPGConfig

    def setup(self):
        cfg = self.config
        self.token_embed = embedding_table(
            self, "token_embed", cfg.num_embeddings, cfg.embed_dim, "codebook", cfg.embedding_std
        )
        self.token_drop = Dropout(cfg.token_drop_rate)
        how = self.dtype, self.attention, self.remat, self.products, self.unroll_layers
        self.blocks = Blocks(cfg, *how)
        self.memory_norm, self.norm = rms_norm(None, self.dtype), rms_norm(None, self.dtype)
        self.memory_key, self.memory_value = (
            matrix(cfg, self.dtype, cfg.embed_dim, products=self.products) for _ in range(2)
        )
        self.head = zero_head(cfg.codebook_size, self.dtype, self.products)

    def __call__(
        self,
        tokens_BN: jax.Array,
        labels_B: jax.Array,
        order_BN: jax.Array,
        group_N: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Logits of all tokens, each predicted from the groups before its own.

        Args:
            tokens_BN: int32, raster order.
            labels_B: int32 class labels; `config.null_class` is no class.
            order_BN: int32, generation rank -> raster position.
            group_N: int32, the decoding step that writes each rank, or `[B, N]` that of each image;
                one token a step in training.
            train: dropout, with the rng named "dropout".

        Returns:
            Float32 `[B, N, V]` in generation order.
        """
        N = self.config.num_tokens
        ranked_BN = jnp.take_along_axis(tokens_BN, order_BN, axis=1)
        held_BND = whole(self.token_embed)[ranked_BN[:, :-1]]
        x_BND = jnp.concatenate([self.embed_class(labels_B), held_BND], axis=1)
        x_BND = self.token_drop(x_BND, deterministic=not train)
        x_BND = constrain(x_BND.astype(jnp.float32), "act_batch", "act_len", "act_embed")
        rope_BNK2 = self.rope_of(order_BN)
        held_rope_BNK2 = jnp.pad(rope_BNK2[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        mask_TT = teacher_forcing_mask(group_N)
        x_BND, _ = self.blocks.content(x_BND, mask_TT[..., :N, :N], held_rope_BNK2, train)
        memory = self.remember(x_BND, held_rope_BNK2)
        query_BND = self.embed_queries(rope_BNK2)
        query_BND, _ = self.blocks.query(query_BND, memory, mask_TT[..., N:, :N], rope_BNK2, train)
        return self.to_logits(query_BND)

    def embed_class(self, labels_B: jax.Array) -> jax.Array:
        """Class tokens `[B, 1, D]`; NaN for a label that is no class."""
        first = self.config.codebook_size + 1
        return class_rows(self.token_embed[first : first + self.config.num_classes + 1], labels_B)

    def embed_queries(self, rope_BQK2: jax.Array) -> jax.Array:
        """What queries begin as, float32 `[B, Q, D]`: one vector, or its turns."""
        query_D = self.token_embed[self.config.codebook_size].astype(jnp.float32)
        if self.config.turned_queries:
            query_BQD = turned_rows(query_D, rope_BQK2)
        else:
            query_BQD = jnp.broadcast_to(query_D[None, None], (*rope_BQK2.shape[:2], len(query_D)))
        return constrain(query_BQD, "act_batch", "act_len", "act_embed")

    def rope_of(self, positions_BT: jax.Array) -> jax.Array:
        """Turns `[B, T, K / 2, 2]` of raster positions."""
        return jnp.asarray(cell_rope(self.config.grid_size, self.config.head_dim))[positions_BT]

    def remember(self, x_BTD: jax.Array, rope_BTK2: jax.Array) -> KVCache:
        """Keys and values of what was read, for all layers that ask."""
        for_key_BTD, for_value_BTD = keep_apart(self.memory_norm(x_BTD), 2)
        (k_BHTK,) = split_heads(self.memory_key(for_key_BTD), 1, self.config.num_heads)
        (v_BHTK,) = split_heads(self.memory_value(for_value_BTD), 1, self.config.num_heads)
        return KVCache(rotate(k_BHTK, rope_BTK2), v_BHTK)

    def example_inputs(self) -> tuple[jax.Array, ...]:
        """Arguments of the smallest forward pass, for `init`."""
        order_N = jnp.arange(self.config.num_tokens)
        return jnp.zeros_like(order_N)[None], jnp.zeros((1,), jnp.int32), order_N[None], order_N


class ARPGCache(NamedTuple):
    """Keys and values by slot: of each layer that reads, and those that all queries look at."""

    content: tuple[KVCache, ...]
    memory: KVCache


def init_cache(config: ARPGConfig, batch_size: int, dtype: jnp.dtype = jnp.float32) -> ARPGCache:
    """A cache of no slots; decoding grows it."""
    shape = (batch_size, config.num_heads, 0, config.head_dim)
    *content, memory = empty_cache(config.half + 1, shape, dtype)
    return ARPGCache(tuple(content), memory)


def decode_step(
    config: ARPGConfig,
    params: Any,
    class_B1D: jax.Array,
    rows: StepRows,
    cache: ARPGCache,
) -> tuple[jax.Array, ARPGCache]:
    """One cached pass: the previous group is read, then the next group's queries ask.

    Args:
        params: with unstacked blocks; see `unstack_blocks`.
        class_B1D: what slot 0 holds.
        rows: of the step table.
        cache: its products are in its dtype.

    Returns:
        Float32 logits `[B, Q, V]` and the new cache.
    """
    model = ARPG(config, cache.memory.k_BNMK.dtype).bind({"params": params})
    is_class_P, num_previous = rows.previous_slots_P == 0, len(rows.previous_slots_P)
    start = rows.previous_slots_P[0]
    x_BPD = params["token_embed"][rows.previous_tokens_RP]
    x_BPD = jnp.where(is_class_P[None, :, None], class_B1D, x_BPD).astype(jnp.float32)
    rope_BPK2 = model.rope_of(rows.previous_positions_RP)
    rope_BPK2 = jnp.where(is_class_P[None, :, None, None], 0.0, rope_BPK2)
    mask_PM, content = rows.mask_TM[:num_previous], []
    for layer_params, layer_cache in zip(params["blocks"], cache.content, strict=True):
        x_BPD, new_layer_cache = read_block(
            config, layer_params["content"], x_BPD, mask_PM, rope_BPK2, start, layer_cache
        )
        content.append(new_layer_cache)
    memory = put_rows(cache.memory, *model.remember(x_BPD, rope_BPK2), start)
    # Queries have no slots: they see those before their own.
    is_kept_M = jnp.arange(memory.k_BNMK.shape[SLOT_AXIS]) < rows.query_start
    mask_QM = rows.mask_TM[num_previous:] & is_kept_M[None]
    rope_BQK2 = model.rope_of(rows.query_positions_RQ)
    x_BQD = model.embed_queries(rope_BQK2)
    for layer_params in params["blocks"]:
        x_BQD = ask_block(config, layer_params["query"], x_BQD, memory, mask_QM, rope_BQK2)
    return model.to_logits(x_BQD), ARPGCache(tuple(content), memory)


@functools.partial(jax.jit, static_argnums=0)
def read_block(
    config: ARPGConfig,
    params: Any,
    x_BPD: jax.Array,
    mask_PM: jax.Array,
    rope_BPK2: jax.Array,
    start: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """One layer of a cached pass that reads. Jitted on its own, it is traced once for all."""
    block = ContentBlock(config, *cached_kernels(cache)).bind({"params": params})

    def remember(k_BHPK: jax.Array, v_BHPK: jax.Array) -> KVCache:
        return put_rows(cache, k_BHPK, v_BHPK, start)

    x_BPD, new_cache = block(x_BPD, mask_PM, rope_BPK2, False, remember)
    return x_BPD, cast(KVCache, new_cache)


@functools.partial(jax.jit, static_argnums=0)
def ask_block(
    config: ARPGConfig,
    params: Any,
    x_BQD: jax.Array,
    memory: KVCache,
    mask_QM: jax.Array,
    rope_BQK2: jax.Array,
) -> jax.Array:
    """One layer of a cached pass that asks."""
    block = QueryBlock(config, *cached_kernels(memory)).bind({"params": params})
    return block(x_BQD, memory, mask_QM, rope_BQK2)[0]
