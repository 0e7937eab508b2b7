"""How a layer multiplies rows by its weights, and which numbers the product is made of.

Dimension key: R rows, D width in, F width out.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Rows that weights by output multiply as the second factor: beyond, they are as fast as the first.
# In float32 it is cut into strips, and rows that do not fill the last cost as much as a whole one
# and more.
MOST_TURNED, TURNED_STRIP, MOST_TURNED_HALVES = 128, 16, 64
# One row in bfloat16 takes XLA for CPUs ten times as long as two: it has no kernel for it.
LEAST_HALVES = 2
ROWS_BY_COLUMNS, ROWS_BY_ROWS = (((1,), (0,)), ((), ())), (((1,), (1,)), ((), ()))


def plain_product(rows: jax.Array, weights_DF: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """Rows `[..., D]` by weights: what `nn.Dense` computes, its rows in one axis.

    The gradient of the weights then sums over one axis. Over two, XLA for CPUs first transposes
    the gradient of the rows, which takes longer than the product.
    """
    x_RD = to_matrix(rows)
    if x_RD.dtype == weights_DF.dtype == jnp.bfloat16:
        y_RF = lax.platform_dependent(x_RD, weights_DF, cpu=summed_wide, default=matmul)
    else:
        y_RF = matmul(x_RD, weights_DF)
    return y_RF.reshape(*rows.shape[:-1], -1)


def matmul(x_RD: jax.Array, w_DF: jax.Array) -> jax.Array:
    return lax.dot_general(x_RD, w_DF, ROWS_BY_COLUMNS)


def summed_wide(x_RD: jax.Array, w_DF: jax.Array) -> jax.Array:
    """The same in bfloat16, by way of float32: only so XLA for CPUs takes bfloat16 kernels."""
    y_RF = multiply(pad_rows(x_RD, max(len(x_RD), LEAST_HALVES)), w_DF, ROWS_BY_COLUMNS)
    return y_RF[: len(x_RD)].astype(jnp.bfloat16)


def product_by_output(rows: jax.Array, weights_FD: jax.Array) -> jax.Array:
    """Rows `[..., D]` by weights that lie by output: the same as `plain_product` by input.

    Few rows are the second factor, so that the weights are read in one go.
    """
    x_RD = to_matrix(rows)
    num_rows, dtype = len(x_RD), jnp.promote_types(rows.dtype, weights_FD.dtype)
    if dtype == jnp.bfloat16:
        turned, num_padded = num_rows <= MOST_TURNED_HALVES, max(num_rows, LEAST_HALVES)
    else:
        turned, num_padded = 1 < num_rows <= MOST_TURNED, num_rows
        if turned and num_rows > TURNED_STRIP // 2:
            num_padded += -num_rows % TURNED_STRIP
    if turned:
        y_FR = multiply(weights_FD, pad_rows(x_RD, num_padded), ROWS_BY_ROWS)
        # Seen through, XLA would swap the factors back.
        y_RF = lax.optimization_barrier(y_FR).T[:num_rows]
    else:
        y_RF = multiply(x_RD, weights_FD, ROWS_BY_ROWS)
    return y_RF.astype(dtype).reshape(*rows.shape[:-1], -1)


def pad_rows(x_RD: jax.Array, num_rows: int) -> jax.Array:
    """The rows, then zeros."""
    return jnp.pad(x_RD, ((0, num_rows - len(x_RD)), (0, 0)))


def bfloat16_product(rows: jax.Array, weights_DF: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """Rows `[..., D]` by weights, both rounded to bfloat16 and summed in float32; float32."""
    y_RF = rounded_product(to_matrix(rows), weights_DF)
    return y_RF.reshape(*rows.shape[:-1], -1)


def to_matrix(rows: jax.Array) -> jax.Array:
    return rows.reshape(-1, rows.shape[-1])


@jax.custom_vjp
def rounded_product(x_RD: jax.Array, w_DF: jax.Array) -> jax.Array:
    return keep_for_gradient(x_RD, w_DF)[0]


def keep_for_gradient(x_RD: jax.Array, w_DF: jax.Array) -> tuple[jax.Array, Any]:
    x_RD, w_DF = x_RD.astype(jnp.bfloat16), w_DF.astype(jnp.bfloat16)
    # Kept transposed: the CPU's bfloat16 kernels multiply rows by columns or by rows, not columns
    # by columns, and a transpose within the backward pass is folded back into the product.
    return multiply(x_RD, w_DF, ROWS_BY_COLUMNS), (x_RD.T, w_DF)


def gradient_of_product(kept: Any, dy_RF: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_DR, w_DF = kept
    # One layer is no loop, and XLA would see the transpose in the forward pass.
    x_DR = lax.optimization_barrier(x_DR)
    dy_RF = dy_RF.astype(jnp.bfloat16)
    return multiply(dy_RF, w_DF, ROWS_BY_ROWS), multiply(x_DR, dy_RF, ROWS_BY_COLUMNS)


rounded_product.defvjp(keep_for_gradient, gradient_of_product)
multiply = functools.partial(lax.dot_general, preferred_element_type=jnp.float32)


def wide_einsum(spec: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """An einsum of two arrays summed in float32, as "BNTK,BNMK->BNTM".

    Of two arrays in bfloat16 the gradient's products are so, too. Left alone, JAX multiplies the
    float32 gradient of what comes out by the arrays in float32, on GPUs at a sixteenth of the rate.
    """
    if left.dtype == right.dtype == jnp.bfloat16:
        return einsum_of_halves(spec, left, right)
    return jnp.einsum(spec, left, right, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def einsum_of_halves(spec: str, left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.einsum(spec, left, right, preferred_element_type=jnp.float32)


def keep_halves(spec: str, left: jax.Array, right: jax.Array) -> tuple[jax.Array, Any]:
    return einsum_of_halves(spec, left, right), (left, right)


def gradient_of_einsum(spec: str, kept: Any, dout: jax.Array) -> tuple[jax.Array, jax.Array]:
    (left, right), (axes, out) = kept, spec.split("->")
    left_axes, right_axes = axes.split(",")
    dout = dout.astype(jnp.bfloat16)
    return tuple(
        jnp.einsum(back, dout, other, preferred_element_type=jnp.float32).astype(jnp.bfloat16)
        for back, other in (
            (f"{out},{right_axes}->{left_axes}", right),
            (f"{out},{left_axes}->{right_axes}", left),
        )
    )  # type: ignore[return-value]


einsum_of_halves.defvjp(keep_halves, gradient_of_einsum)

# What `nn.Dense` takes as `dot_general`; both know its one use there.
PRODUCTS: dict[str, Callable[..., jax.Array]] = {
    "plain": plain_product,
    "bfloat16": bfloat16_product,
}
