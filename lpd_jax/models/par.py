"""PAR, Parallelized Autoregressive Visual Generation (arXiv 2412.15119), on LlamaGen's decoder.

The grid is cut into n square regions. The first token of each is drawn in sequence, then one token
of every region at a time; between the two, n - 1 learned transition tokens fill the slots whose
tokens are not there yet. LlamaGen (arXiv 2406.06525) is the case n = 1. Dimension key: B batch,
N tokens of an image (ranks in generation order), T slots of one pass, H heads, K head width,
D width, F MLP width, V codebook.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp

from lpd_jax.decoding.scan import SLOT_AXIS
from lpd_jax.models.attention import cached_head_dim
from lpd_jax.models.dropout import Dropout
from lpd_jax.models.layers import KVCache, empty_cache, put_rows
from lpd_jax.models.llama_block import (
    LlamaBlock,
    cached_kernels,
    filled_up,
    rms_norm,
    zero_head,
)
from lpd_jax.models.par_layout import PARConfig, par_order, rope_table, slot_mask
from lpd_jax.models.transformer import (
    TokenTransformer,
    class_rows,
    embedding_table,
    scan_blocks,
    whole,
)
from lpd_jax.runtime.mesh import constrain


class PAR(TokenTransformer):
    """The transformer, teacher-forced."""

    config: PARConfig

    def setup(self):
        cfg = self.config

        def table(name: str, rows: int, axis: str | None = None) -> jax.Array:
            return embedding_table(self, name, rows, cfg.embed_dim, axis, cfg.embedding_std)

        self.class_embed = table("class_embed", cfg.num_classes + 1)
        self.token_embed = table("token_embed", cfg.codebook_size, "codebook")
        if cfg.num_parallel > 1:
            self.transition_embed = table("transition_embed", cfg.num_parallel - 1)
        self.token_drop = Dropout(cfg.token_drop_rate)
        stacked = scan_blocks(LlamaBlock, cfg.num_layers, 3, self.remat, self.unroll_layers)
        self.blocks = stacked(cfg, self.dtype, self.attention, self.products)
        self.norm = rms_norm(None, self.dtype)
        self.head = zero_head(cfg.codebook_size, self.dtype, self.products)

    def __call__(self, tokens_BN: jax.Array, labels_B: jax.Array, train: bool = False) -> jax.Array:
        """Logits of all tokens, each predicted from the slots that its own may see.

        The N slots that matter: the official code feeds n - 1 more, which nobody looks at.

        Args:
            tokens_BN: int32, raster order.
            labels_B: int32 class labels; `config.null_class` is no class.
            train: dropout, with the rng named "dropout".

        Returns:
            Float32 `[B, N, V]` in generation order.
        """
        cfg = self.config
        ranked_BN = tokens_BN[:, par_order(cfg)]
        x_BTD = self.embed_slots(ranked_BN, labels_B)
        x_BTD = self.token_drop(x_BTD, deterministic=not train)
        x_BTD = constrain(x_BTD.astype(jnp.float32), "act_batch", "act_len", "act_embed")
        rope_TK2 = jnp.asarray(rope_table(cfg))
        mask_TT = jnp.asarray(slot_mask(cfg))
        x_BTD, _ = self.blocks(x_BTD, mask_TT, rope_TK2, train)
        return self.to_logits(x_BTD)

    def embed_slots(self, ranked_BN: jax.Array, labels_B: jax.Array) -> jax.Array:
        """What the slots hold, `[B, N, D]`: class, single tokens, n - 1 transitions, tokens."""
        n, num_tokens = self.config.num_parallel, self.config.num_tokens
        first = self.config.num_singles
        held_BND = whole(self.token_embed)[ranked_BN[:, : num_tokens - n]]
        parts = [class_rows(self.class_embed, labels_B), held_BND[:, :first], held_BND[:, first:]]
        if n > 1:
            size = (len(labels_B), n - 1, self.config.embed_dim)
            parts.insert(2, jnp.broadcast_to(self.transition_embed[None], size))
        return jnp.concatenate(parts, axis=1)

    def example_inputs(self) -> tuple[jax.Array, ...]:
        """Arguments of the smallest forward pass, for `init`."""
        return jnp.zeros((1, self.config.num_tokens), jnp.int32), jnp.zeros((1,), jnp.int32)


def init_cache(
    config: PARConfig, batch_size: int, dtype: jnp.dtype = jnp.float32
) -> tuple[KVCache, ...]:
    """A cache of no slots, one entry per layer; decoding grows it."""
    head_dim = cached_head_dim(dtype, config.embed_dim // config.num_heads)
    shape = (batch_size, config.num_heads, 0, head_dim)
    return empty_cache(config.num_layers, shape, dtype)


def decode_step(
    config: PARConfig,
    params: Any,
    held_BPD: jax.Array,
    start: jax.Array,
    num_rows: int,
    cache: tuple[KVCache, ...],
) -> tuple[jax.Array, tuple[KVCache, ...]]:
    """One cached pass over slots `start` and on, which predict the ranks of the same numbers.

    Args:
        params: with unstacked blocks; see `unstack_blocks`.
        held_BPD: what the first slots hold, the class or the previous group's tokens; transition
            tokens fill up the others. Float32, as `x_BTD` is that runs through the layers.
        start: of the slots.
        num_rows: how many; 1 or n.
        cache: keys and values of each layer; the products of the pass are in their dtype.

    Returns:
        Float32 logits `[B, num_rows, V]` and the new cache.
    """
    model = PAR(config, cache[0].k_BNMK.dtype).bind({"params": params})
    x_BTD = held_BPD
    if (missing := num_rows - held_BPD.shape[1]) > 0:
        fill_BMD = jnp.broadcast_to(
            model.transition_embed[None, :missing], (len(held_BPD), missing, config.embed_dim)
        )
        x_BTD = jnp.concatenate([held_BPD, fill_BMD.astype(held_BPD.dtype)], axis=1)
    rope_TK2 = jax.lax.dynamic_slice_in_dim(jnp.asarray(rope_table(config)), start, num_rows)
    # A step's slots see all before them and, but in the study of that, each other.
    seen = num_rows if config.group_attention == "full" else 1 + jnp.arange(num_rows)[:, None]
    mask_TM = jnp.arange(cache[0].k_BNMK.shape[SLOT_AXIS])[None] < start + seen
    new_cache = []
    for layer_params, layer_cache in zip(params["blocks"], cache, strict=True):
        x_BTD, new_layer_cache = decode_block(
            config, layer_params, x_BTD, mask_TM, rope_TK2, start, layer_cache
        )
        new_cache.append(new_layer_cache)
    return model.to_logits(x_BTD), tuple(new_cache)


@functools.partial(jax.jit, static_argnums=0)
def decode_block(
    config: PARConfig,
    params: Any,
    x_BTD: jax.Array,
    mask_TM: jax.Array,
    rope_TK2: jax.Array,
    start: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """One layer of a cached pass. Jitted on its own, it is traced once for all layers."""
    block = LlamaBlock(config, *cached_kernels(cache)).bind({"params": params})

    def remember(k_BHTK: jax.Array, v_BHTK: jax.Array) -> KVCache:
        width = cache.k_BNMK.shape[-1]
        return put_rows(cache, filled_up(k_BHTK, width), filled_up(v_BHTK, width), start)

    x_BTD, new_cache = block(x_BTD, mask_TM, rope_TK2, False, remember)
    return x_BTD, cast(KVCache, new_cache)
