"""LPD, Locality-aware Parallel Decoding (arXiv 2507.01957): any positions, in any order, at once.

Learned position query tokens ask for positions; the queries of one group see each other and all
that was drawn before, and nobody sees them. Dimension key: B batch, N tokens per image (ranks in
generation order), P rows of the previous group, Q query rows, T rows of one pass, D width,
V codebook.
"""

import dataclasses
import functools
import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.decoding.grid import check_grid
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.models.attention import cached_attention
from lpd_jax.models.dense import Dense
from lpd_jax.models.layers import Block, CacheWrite, KVCache, empty_cache, layer_norm
from lpd_jax.models.position_tables import resize_position_embedding  # noqa: F401 - its old place
from lpd_jax.models.products import PRODUCTS
from lpd_jax.models.size_limits import (
    MOST_CLASSES,
    MOST_CODES,
    MOST_LAYERS,
    MOST_WIDTH,
    check_heads,
)
from lpd_jax.models.transformer import (
    TokenTransformer,
    class_rows,
    embedding_table,
    scan_blocks,
    whole,
)
from lpd_jax.runtime.config_fields import check_rates, check_sizes, check_types
from lpd_jax.runtime.mesh import constrain

# Field -> the most that anything is built of; what lies beyond is a damaged or hostile config.
SIZES = {
    "num_layers": MOST_LAYERS,
    "embed_dim": MOST_WIDTH,
    "num_heads": MOST_WIDTH,
    "mlp_ratio": 64,
    "codebook_size": MOST_CODES,
    "num_classes": MOST_CLASSES,
}


@dataclasses.dataclass(frozen=True)
class LPDConfig:
    """Sizes of an LPD transformer.

    `grid_size` is (height, width) in tokens, or (frames, height, width) of a clip: its positions
    are learned, and its order is near in space and time alike. The paper has pictures alone.
    """

    num_layers: int
    embed_dim: int
    num_heads: int
    mlp_ratio: int = 4
    grid_size: tuple[int, ...] = (16, 16)
    codebook_size: int = 16384
    num_classes: int = 1000
    label_drop_rate: float = 0.1
    dropout_rate: float = 0.1

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        check_grid(self.grid_size, "grid_size")
        check_rates(self, ("label_drop_rate", "dropout_rate"))
        check_heads(self.embed_dim, self.num_heads)

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid_size)

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.num_classes


LPD_MODELS = {
    "lpd_l": LPDConfig(num_layers=24, embed_dim=1024, num_heads=16),
    "lpd_xl": LPDConfig(num_layers=36, embed_dim=1280, num_heads=20),
    "lpd_xxl": LPDConfig(num_layers=48, embed_dim=1536, num_heads=24),
    "lpd_l_512": LPDConfig(num_layers=24, embed_dim=1024, num_heads=16, grid_size=(32, 32)),
    "lpd_xl_512": LPDConfig(num_layers=36, embed_dim=1280, num_heads=20, grid_size=(32, 32)),
    "lpd_xxl_512": LPDConfig(num_layers=48, embed_dim=1536, num_heads=24, grid_size=(32, 32)),
}


class LPD(TokenTransformer):
    """The transformer. `__call__` is the teacher-forced pass, `decode_step` the cached one."""

    config: LPDConfig

    def setup(self):
        cfg = self.config

        def table(name: str, rows: int, axis: str | None = None) -> jax.Array:
            return embedding_table(self, name, rows, cfg.embed_dim, axis)

        self.class_embed = table("class_embed", cfg.num_classes)
        self.null_class_embed = table("null_class_embed", 1)
        self.token_embed = table("token_embed", cfg.codebook_size, "codebook")
        self.query_embed = table("query_embed", 1)
        self.position_embed = table("position_embed", cfg.num_tokens + 1)
        self.input_norm = layer_norm(None)
        stacked = scan_blocks(Block, cfg.num_layers, 2, self.remat, self.unroll_layers)
        self.blocks = stacked(**block_sizes(cfg), **self.kernels())
        self.norm = layer_norm(None, self.dtype)
        head_init = nn.with_logical_partitioning(
            nn.initializers.xavier_uniform(), ("embed", "codebook")
        )
        self.head = Dense(
            cfg.codebook_size,
            use_bias=False,
            kernel_init=head_init,
            dtype=self.dtype,
            dot_general=PRODUCTS[self.products],
        )

    def kernels(self) -> dict[str, Any]:
        """How the blocks compute."""
        return {"dtype": self.dtype, "attention": self.attention, "products": self.products}

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
            group_N: int32, the decoding step that writes each rank, or `[B, N]` that of each image.
            train: dropout, with the rng named "dropout".

        Returns:
            Float32 `[B, N, V]` in generation order.
        """
        ranked_BN = jnp.take_along_axis(tokens_BN, order_BN, axis=1)
        context_BND = jnp.concatenate(
            [
                self.embed_class(labels_B),
                self.embed_tokens(ranked_BN[:, :-1], order_BN[:, :-1]),
            ],
            axis=1,
        )
        x_BTD = jnp.concatenate([context_BND, self.embed_queries(order_BN)], axis=1)
        x_BTD = constrain(x_BTD, "act_batch", "act_len", "act_embed")
        x_BTD, _ = self.blocks(x_BTD, teacher_forcing_mask(group_N), train)
        return self.to_logits(x_BTD[:, self.config.num_tokens :])

    def embed_class(self, labels_B: jax.Array) -> jax.Array:
        """Class tokens `[B, 1, D]`, at position 0; NaN for a label that is no class."""
        table_CD = jnp.concatenate([self.class_embed, self.null_class_embed])
        return self.at_positions(class_rows(table_CD, labels_B), jnp.zeros_like(labels_B)[:, None])

    def embed_tokens(self, tokens_BP: jax.Array, positions_BP: jax.Array) -> jax.Array:
        """Context rows `[B, P, D]` of tokens at raster positions."""
        return self.at_positions(whole(self.token_embed)[tokens_BP], positions_BP + 1)

    def embed_queries(self, positions_BQ: jax.Array) -> jax.Array:
        """Position query tokens `[B, Q, D]` for raster positions."""
        return self.at_positions(self.query_embed[None], positions_BQ + 1)

    def embed_step(
        self, tokens_BP: jax.Array, positions_BP: jax.Array, query_positions_BQ: jax.Array
    ) -> jax.Array:
        """Rows `[B, P + Q, D]` of a previous group's tokens and the next group's queries."""
        token_BPD = whole(self.token_embed)[tokens_BP]
        query_BQD = jnp.broadcast_to(
            self.query_embed[None], (*query_positions_BQ.shape, token_BPD.shape[-1])
        )
        rows_BTD = jnp.concatenate([token_BPD, query_BQD], axis=1)
        positions_BT = jnp.concatenate([positions_BP, query_positions_BQ], axis=1)
        return self.at_positions(rows_BTD, positions_BT + 1)

    def at_positions(self, x_BTD: jax.Array, rows_BT: jax.Array) -> jax.Array:
        return self.input_norm(x_BTD + whole(self.position_embed)[rows_BT])

    def example_inputs(self) -> tuple[jax.Array, ...]:
        """Arguments of the smallest forward pass, for `init`."""
        tokens_BN = jnp.zeros((1, self.config.num_tokens), jnp.int32)
        order_N = jnp.arange(self.config.num_tokens)
        return tokens_BN, jnp.zeros((1,), jnp.int32), order_N[None], order_N


def block_sizes(config: LPDConfig) -> dict[str, Any]:
    return {
        "embed_dim": config.embed_dim,
        "num_heads": config.num_heads,
        "mlp_dim": config.embed_dim * config.mlp_ratio,
        "num_context": config.num_tokens,
        "dropout_rate": config.dropout_rate,
    }


def init_cache(
    config: LPDConfig, batch_size: int, num_slots: int, dtype: jnp.dtype = jnp.float32
) -> tuple[KVCache, ...]:
    """An empty cache, one entry per layer."""
    shape = (batch_size, config.num_heads, num_slots, config.embed_dim // config.num_heads)
    return empty_cache(config.num_layers, shape, dtype)


def decode_step(
    config: LPDConfig,
    params: Any,
    x_BTD: jax.Array,
    mask_TM: jax.Array,
    write: CacheWrite,
    cache: tuple[KVCache, ...],
) -> tuple[jax.Array, tuple[KVCache, ...]]:
    """One cached pass: the previous group's tokens and the next group's queries.

    Args:
        params: with unstacked blocks; see `unstack_blocks`.
        x_BTD: embedded rows, float32: of the previous group (at first, of the class), of queries.
        mask_TM: the slots that each of the P + Q rows sees.
        write: the slots that the rows go to.
        cache: keys and values of each layer; the products of the pass are in their dtype.

    Returns:
        Float32 logits `[B, Q, V]` and the new cache.
    """
    model = LPD(config, cache[0].k_BNMK.dtype).bind({"params": params})
    new_cache = []
    for layer_params, layer_cache in zip(params["blocks"], cache, strict=True):
        x_BTD, new_layer_cache = decode_block(
            config, write.num_previous, layer_params, x_BTD, mask_TM, *write[:2], layer_cache
        )
        new_cache.append(new_layer_cache)
    logits_BQV = model.to_logits(x_BTD[:, write.num_previous :])
    return logits_BQV, tuple(new_cache)


@functools.partial(jax.jit, static_argnums=(0, 1))
def decode_block(
    config: LPDConfig,
    num_previous: int,
    params: Any,
    x_BTD: jax.Array,
    mask_TM: jax.Array,
    previous_start: jax.Array,
    query_start: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """One layer of a cached pass. Jitted on its own, it is traced once for all layers."""
    write = CacheWrite(previous_start, query_start, num_previous)
    dtype = cache.k_BNMK.dtype
    attention = cached_attention(dtype, cache.k_BNMK.shape[-1])
    sizes = block_sizes(config)
    block = Block(**sizes, dtype=dtype, attention=attention).bind({"params": params})
    x_BTD, new_cache = block(x_BTD, mask_TM, cache_write=(cache, write))
    return x_BTD, cast(KVCache, new_cache)  # None only where none was given
