"""What the transformers of all families have in common: their tables, and their stacked blocks."""

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.models.dense import BY_OUTPUT
from lpd_jax.models.products import PRODUCTS
from lpd_jax.runtime.mesh import constrain

# What the backward pass finds of a block's forward pass: all, the matrix products, its input.
REMAT = {
    "none": None,
    "minimal": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class TokenTransformer(nn.Module):
    """How a family's transformer is made; its `setup` makes `norm` and `head`, its last steps.

    dtype: of matrix products and of what lies between them; the sums that run through the layers
        stay in float32, where each of many small additions counts.
    attention: a key of `attention.ATTENTION`, as what follows for the teacher-forced pass.
    remat: a key of `REMAT`.
    products: a key of `products.PRODUCTS`.
    unroll_layers: training compiles layer after layer, not one for all.
    headless: leaves the last matrix to who asked: what it reads comes in place of logits.
    """

    config: Any
    dtype: jnp.dtype = jnp.float32
    attention: str = "einsum"
    remat: str = "none"
    products: str = "plain"
    unroll_layers: bool = False
    headless: bool = False

    def to_logits(self, x_BTD: jax.Array) -> jax.Array:
        """Float32 `[B, T, V]`; `[B, T, D]`, what the head reads, where that is left out."""
        read_BTD = self.norm(x_BTD)
        return (read_BTD if self.headless else self.head(read_BTD)).astype(jnp.float32)


def embedding_table(
    module: nn.Module,
    name: str,
    rows: int,
    width: int,
    axis: str | None = None,
    std: float = 0.02,
) -> jax.Array:
    """A learned table `[rows, width]` of `module`; `axis` is the logical name of its rows."""
    init = nn.with_logical_partitioning(nn.initializers.normal(std), (axis, "embed"))
    # `param` takes the leaf out of its box of axis names; its type does not tell.
    return cast(jax.Array, module.param(name, init, (rows, width), jnp.float32))


def whole(table_RD: jax.Array) -> jax.Array:
    """A table on every device before rows are looked up.

    Cut along its width, each device would look up its part of all images' rows, and the compiler
    can only hand those out again by way of the whole batch.
    """
    return constrain(table_RD, "act_len", "act_embed")


def class_rows(table_CD: jax.Array, labels_B: jax.Array) -> jax.Array:
    """Class tokens `[B, 1, D]`; NaN for a label that is no class."""
    # Plain indexing would quietly take the nearest class.
    class_BD = (
        jnp.asarray(whole(table_CD)).at[labels_B].get(mode="fill", wrap_negative_indices=False)
    )
    return class_BD[:, None]


def apply_head(
    head: Any, read_BND: jax.Array, dtype: Any = jnp.float32, products: str = "plain", **_: Any
) -> jax.Array:
    """Logits `[B, N, V]` by the last matrix of a transformer, as the transformer itself makes them.

    Args:
        head: its parameters, a kernel `[D, V]`.
        read_BND: what it reads.
        dtype, products: options of the transformer; it has others, which do not count here.
    """
    dense = nn.Dense(
        head["kernel"].shape[-1], use_bias=False, dtype=dtype, dot_general=PRODUCTS[products]
    )
    logits_BNV: Any = dense.apply({"params": head}, read_BND)
    return logits_BNV


def scan_blocks(
    block: type[nn.Module], num_layers: int, num_shared: int, remat: str, unroll: bool = False
) -> Any:
    """A block scanned over stacked parameters: compile time does not grow with depth.

    Args:
        block: called with (activations, what all layers share, whether this is training).
        num_layers: how many.
        num_shared: arguments after the activations, the last of them `train`.
        remat: a key of `REMAT`.
        unroll: without a loop. What the backward pass needs of a layer then stays where it is,
            while a loop copies it to where it stacks it, and back.
    """
    if remat != "none":
        # Outside of a loop, a compiler finds the same twice and computes it once, for memory.
        # Arguments count from self: `train` comes last.
        block = nn.remat(
            block, policy=REMAT[remat], prevent_cse=unroll, static_argnums=(num_shared + 1,)
        )
    return nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast,) * num_shared,
        length=num_layers,
        unroll=num_layers if unroll else 1,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )


def unstack_blocks(params: Any, num_layers: int) -> Any:
    """The same parameters with "blocks" layer by layer, in a tuple; those that are so already, too.

    Who draws often does it once: inside a compiled function it copies the weights in every call.
    """
    if isinstance(params["blocks"], tuple):
        return params
    layers = [jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"]) for i in range(num_layers)]
    return {**params, "blocks": tuple(layers)}


def stack_blocks(params: Any) -> Any:
    """Undoes `unstack_blocks`, on the host."""
    if not isinstance(params["blocks"], tuple):
        return params
    blocks = jax.tree.map(lambda *leaves: np.stack(leaves), *params["blocks"])
    return {**params, "blocks": blocks}


def cast_matrices(params: Any, dtype: jnp.dtype) -> Any:
    """Casts what `Dense` would cast in every step; norms and embeddings add up in float32."""
    if isinstance(params, tuple):
        return tuple(cast_matrices(layer, dtype) for layer in params)
    if not isinstance(params, Mapping):
        return params
    if "kernel" in params or BY_OUTPUT in params:  # a `Dense`, its bias as well
        return {name: leaf.astype(dtype) for name, leaf in params.items()}
    return {name: cast_matrices(part, dtype) for name, part in params.items()}
