"""The block of LlamaGen's decoder (arXiv 2406.06525), which PAR, RandAR and ARPG are built of.

Dimension key: B batch, T rows of one pass, M keys, H heads, K head width, D model width, F MLP
width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.models.attention import KERNELS, cached_attention
from lpd_jax.models.dense import Dense
from lpd_jax.models.dropout import Dropout
from lpd_jax.models.layers import KVCache
from lpd_jax.models.products import PRODUCTS
from lpd_jax.models.rotary import rotate
from lpd_jax.runtime.mesh import constrain

NORM_EPSILON = 1e-5

# (keys [B, H, T, K], values) of this pass -> the cache with them in it, whose slots rows then see
Remember = Callable[[jax.Array, jax.Array], KVCache]


class BlockSizes(Protocol):
    """What a block asks of a model's config."""

    @property
    def embed_dim(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def mlp_dim(self) -> int: ...
    @property
    def dropout_rate(self) -> float: ...
    @property
    def matrix_std(self) -> float: ...


class LlamaLayer(nn.Module):
    """What the blocks have in common: matrices without biases, and the SwiGLU that ends a block."""

    config: BlockSizes
    dtype: jnp.dtype = jnp.float32
    attention: str = "einsum"
    products: str = "plain"

    def dense(self, features: int, name: str, axes: tuple[str, ...] = ("embed", "heads")) -> Dense:
        return matrix(self.config, self.dtype, features, name, axes, self.products)

    def drop(self, x: jax.Array, train: bool) -> jax.Array:
        return Dropout(self.config.dropout_rate)(x, deterministic=not train)

    def add_attended(self, x_BTD: jax.Array, mixed_BHTK: jax.Array, train: bool) -> jax.Array:
        """The rows with what attention found for them."""
        h_BTD = mixed_BHTK.swapaxes(1, 2).reshape(x_BTD.shape)
        proj = self.dense(self.config.embed_dim, "proj", ("heads", "embed"))
        return x_BTD + self.drop(proj(h_BTD), train)

    def add_mlp(self, x_BTD: jax.Array, train: bool) -> jax.Array:
        """The rows after the second half of the block."""
        cfg = self.config
        h_BTD = rms_norm("mlp_norm", self.dtype)(x_BTD)
        gate_BTF, up_BTF = (
            self.dense(cfg.mlp_dim, name, ("embed", "mlp"))(same_BTD)
            for name, same_BTD in zip(("gate", "up"), keep_apart(h_BTD, 2), strict=True)
        )
        h_BTF = constrain(nn.silu(gate_BTF) * up_BTF, "act_batch", "act_len", "act_mlp")
        down = self.dense(cfg.embed_dim, "down", ("mlp", "embed"))
        return constrain(x_BTD + self.drop(down(h_BTF), train), "act_batch", "act_len", "act_embed")

    def split_heads(self, x_BTC: jax.Array, parts: int = 1) -> tuple[jax.Array, ...]:
        return split_heads(x_BTC, parts, self.config.num_heads)


class LlamaBlock(LlamaLayer):
    """Attention and SwiGLU, each behind an RMSNorm, each added to its input; no biases."""

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        mask_TM: jax.Array,
        rope_TK2: jax.Array,
        train: bool = False,
        remember: Remember | None = None,
    ) -> tuple[jax.Array, Any]:
        """The rows after the block, and what `remember` gave.

        Args:
            x_BTD: float32, as the sum through the layers is.
            mask_TM: what rows see of each other, or of the slots of the cache.
            rope_TK2: of the rows; see `rotate`.
            train: dropout.
            remember: of a cached pass.
        """
        h_BTD = rms_norm("attention_norm", self.dtype)(x_BTD)
        q_BHTK, k_BHTK, v_BHTK = self.project(h_BTD)
        q_BHTK, k_BHTK = (rotate(x, rope_TK2) for x in (q_BHTK, k_BHTK))
        cache = None if remember is None else remember(k_BHTK, v_BHTK)
        k_BHTK, v_BHTK = cache or (k_BHTK, v_BHTK)
        mixed_BHTK = self.attend(q_BHTK, k_BHTK, v_BHTK, mask_TM)
        x_BTD = self.add_attended(x_BTD, mixed_BHTK, train)
        return self.add_mlp(x_BTD, train), cache

    def attend(
        self, q_BHTK: jax.Array, k_BHMK: jax.Array, v_BHMK: jax.Array, mask_TM: jax.Array
    ) -> jax.Array:
        """What the queries find, also in a cache whose heads are filled up with zeros."""
        head_dim, width = q_BHTK.shape[-1], k_BHMK.shape[-1]
        if width > head_dim:  # by whose root the kernel divides
            q_BHTK = filled_up(q_BHTK * (width / head_dim) ** 0.5, width)
        mixed_BHTK = KERNELS[self.attention](q_BHTK, k_BHMK, v_BHMK, mask_TM)
        return mixed_BHTK[..., :head_dim]

    def project(self, h_BTD: jax.Array) -> tuple[jax.Array, ...]:
        """Queries, keys and values, `[B, H, T, K]` each, by one matrix."""
        return self.split_heads(self.dense(3 * self.config.embed_dim, "qkv")(h_BTD), 3)


def filled_up(x_BHTK: jax.Array, width: int) -> jax.Array:
    """Heads of that width, the rest of which are zeros."""
    return jnp.pad(x_BHTK, [(0, 0)] * 3 + [(0, width - x_BHTK.shape[-1])])


def keep_apart(rows: jax.Array, count: int) -> Sequence[jax.Array]:
    """The same rows for each of several products, none of which the compiler then joins."""
    copies = [rows] * count
    if device_choices().products_apart:
        copies = jax.lax.optimization_barrier(copies)
    return copies


def cached_kernels(cache: KVCache) -> tuple[jnp.dtype, str]:
    """`dtype` and `attention` of a block that reads a cache."""
    dtype, head_dim = cache.k_BNMK.dtype, cache.k_BNMK.shape[-1]
    return dtype, cached_attention(dtype, head_dim)


def matrix(
    config: BlockSizes,
    dtype: jnp.dtype,
    features: int,
    name: str | None = None,
    axes: tuple[str, ...] = ("embed", "heads"),
    products: str = "plain",
) -> Dense:
    """A matrix without biases; `axes` are the logical names of its sides."""
    init = nn.with_logical_partitioning(nn.initializers.normal(config.matrix_std), axes)
    return Dense(
        features,
        use_bias=False,
        kernel_init=init,
        dtype=dtype,
        dot_general=PRODUCTS[products],
        name=name,
    )


def split_heads(x_BTC: jax.Array, parts: int, num_heads: int) -> tuple[jax.Array, ...]:
    """Parts side by side in the last axis, each `[B, H, T, K]`."""
    B, T, _ = x_BTC.shape
    x_BTxHK = x_BTC.reshape(B, T, parts, num_heads, -1)
    names = ("act_batch", "act_heads", "act_len", "head_dim")
    return tuple(constrain(x_BTxHK[:, :, i].swapaxes(1, 2), *names) for i in range(parts))


def rms_norm(name: str | None, dtype: jnp.dtype = jnp.float32) -> nn.RMSNorm:
    """RMSNorm as LlamaGen has it; moments in float32."""
    scale_init = nn.with_logical_partitioning(nn.initializers.ones_init(), ("embed",))
    return nn.RMSNorm(
        epsilon=NORM_EPSILON,
        dtype=dtype,
        use_fast_variance=False,
        scale_init=scale_init,
        name=name,
    )


def zero_head(codebook_size: int, dtype: jnp.dtype, products: str = "plain") -> Dense:
    """The last matrix, to the logits of all codes; it begins as zeros."""
    init = nn.with_logical_partitioning(nn.initializers.zeros_init(), ("embed", "codebook"))
    return Dense(
        codebook_size,
        use_bias=False,
        kernel_init=init,
        dtype=dtype,
        dot_general=PRODUCTS[products],
    )
