"""The pre-norm transformer block that looks through a mask, alone or through a KV cache.

Dimension key: B batch, T rows of one pass, M cache slots, N heads, K head width, D model width,
F MLP width, Y layers.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.models.attention import KERNELS, attend_in_two
from lpd_jax.models.dense import Dense
from lpd_jax.models.dropout import Dropout
from lpd_jax.models.gelu import gelu
from lpd_jax.models.products import PRODUCTS
from lpd_jax.runtime.mesh import constrain

Initializer = nn.initializers.Initializer
XAVIER = nn.initializers.xavier_uniform()


class KVCache(NamedTuple):
    """Keys and values of one layer by slot. A value: passed in, returned, never stored."""

    k_BNMK: jax.Array
    v_BNMK: jax.Array


def empty_cache(num_layers: int, shape: tuple[int, ...], dtype: jnp.dtype) -> tuple[KVCache, ...]:
    """One entry per layer, keys and values of `shape`, as [B, N, M, K]."""
    return tuple(
        KVCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(num_layers)
    )


class CacheWrite(NamedTuple):
    """Where the rows of one pass go.

    The first `num_previous` rows are written from slot `previous_start` on, the rest from slot
    `query_start` on. Rows of padding land on slots that later rows write again, or past the end.
    """

    previous_start: jax.Array
    query_start: jax.Array
    num_previous: int


def write_cache(cache: KVCache, k_BNTK: jax.Array, v_BNTK: jax.Array, write: CacheWrite) -> KVCache:
    """Puts the rows of one pass into their slots."""
    cut = write.num_previous
    # Previous rows first: their padding may reach into slots that queries then overwrite.
    cache = put_rows(cache, k_BNTK[:, :, :cut], v_BNTK[:, :, :cut], write.previous_start)
    return put_rows(cache, k_BNTK[:, :, cut:], v_BNTK[:, :, cut:], write.query_start)


def write_groups(
    cache: KVCache, k_BNTK: jax.Array, v_BNTK: jax.Array, write: CacheWrite
) -> KVCache:
    """`write_cache` where queries follow the previous group, in as few kernels as the device likes.

    The previous group, without its padding, ends where the queries begin, and the cache has room
    for all rows from where it begins: see `segments.with_room`.
    """
    if not device_choices().one_write:
        return write_cache(cache, k_BNTK, v_BNTK, write)
    # What lies behind the queries is overwritten before anybody looks at it.
    T, slot_T = k_BNTK.shape[2], write.previous_start + jnp.arange(k_BNTK.shape[2])
    to_query = write.num_previous - (write.query_start - write.previous_start)
    row_T = jnp.arange(T) + jnp.where(slot_T < write.query_start, 0, to_query)
    k_BNTK, v_BNTK = (jnp.take(x, row_T, axis=2, mode="clip") for x in (k_BNTK, v_BNTK))
    return put_rows(cache, k_BNTK, v_BNTK, write.previous_start)


def put_rows(cache: KVCache, k_BNTK: jax.Array, v_BNTK: jax.Array, start: jax.Array) -> KVCache:
    """Puts rows into the slots from `start` on."""
    put = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=2)
    return KVCache(put(cache.k_BNMK, k_BNTK, start), put(cache.v_BNMK, v_BNTK, start))


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm (eps 1e-6), each added to its input.

    Exact (erf) GELU; biases everywhere. The rows that are added to (the residual stream) stay in
    float32: only products and what lies between them are in `dtype`. With a cache, this pass's keys
    and values are written to it, and rows see its slots through the mask; without one they see each
    other.
    """

    embed_dim: int
    num_heads: int
    mlp_dim: int
    num_context: int  # the first rows of an uncached pass, which see none of the others
    dropout_rate: float = 0.0
    dtype: jnp.dtype = jnp.float32
    attention: str = "einsum"  # a key of `attention.KERNELS`
    products: str = "plain"  # a key of `products.PRODUCTS`

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        mask_TM: jax.Array,
        train: bool = False,
        cache_write: tuple[KVCache, CacheWrite] | None = None,
    ) -> tuple[jax.Array, KVCache | None]:
        def drop(x: jax.Array) -> jax.Array:
            return Dropout(self.dropout_rate)(x, deterministic=not train)

        h_BTD = layer_norm("attention_norm", self.dtype)(x_BTD)
        q_BNTK, k_BNTK, v_BNTK = self.split_heads(self.dense(3 * self.embed_dim, "qkv")(h_BTD))
        cache = None
        if cache_write is None:
            attended_BNTK = attend_in_two(
                q_BNTK, k_BNTK, v_BNTK, mask_TM, self.num_context, self.attention
            )
        else:
            old_cache, write = cache_write
            cache = write_groups(old_cache, k_BNTK, v_BNTK, write)
            # All slots: a slice of the cache would be copied in every step.
            attended_BNTK = KERNELS[self.attention](q_BNTK, cache.k_BNMK, cache.v_BNMK, mask_TM)
        h_BTD = attended_BNTK.swapaxes(1, 2).reshape(x_BTD.shape)
        x_BTD += drop(self.dense(self.embed_dim, "proj", ("heads", "embed"))(h_BTD))
        h_BTD = layer_norm("mlp_norm", self.dtype)(x_BTD)
        h_BTF = gelu(self.dense(self.mlp_dim, "up", ("embed", "mlp"))(h_BTD))
        h_BTF = constrain(drop(h_BTF), "act_batch", "act_len", "act_mlp")
        x_BTD += drop(self.dense(self.embed_dim, "down", ("mlp", "embed"))(h_BTF))
        return constrain(x_BTD, "act_batch", "act_len", "act_embed"), cache

    def dense(self, features: int, name: str, axes: tuple[str, ...] = ("embed", "heads")) -> Dense:
        return Dense(
            features,
            kernel_init=nn.with_logical_partitioning(XAVIER, axes),
            bias_init=nn.with_logical_partitioning(nn.initializers.zeros_init(), axes[1:]),
            dtype=self.dtype,
            dot_general=PRODUCTS[self.products],
            name=name,
        )

    def split_heads(self, qkv_BTC: jax.Array) -> tuple[jax.Array, ...]:
        B, T, _ = qkv_BTC.shape
        K = self.embed_dim // self.num_heads
        qkv_BTxNK = qkv_BTC.reshape(B, T, 3, self.num_heads, K)
        names = ("act_batch", "act_heads", "act_len", "head_dim")
        return tuple(constrain(qkv_BTxNK[:, :, i].swapaxes(1, 2), *names) for i in range(3))


def layer_norm(name: str | None, dtype: jnp.dtype = jnp.float32) -> nn.LayerNorm:
    """LayerNorm as every released LPD model has it; moments in float32."""
    return nn.LayerNorm(
        epsilon=1e-6,
        dtype=dtype,
        use_fast_variance=False,
        scale_init=nn.with_logical_partitioning(nn.initializers.ones_init(), ("embed",)),
        bias_init=nn.with_logical_partitioning(nn.initializers.zeros_init(), ("embed",)),
        name=name,
    )
