"""The exact GELU, x Phi(x), as PyTorch computes it: in float32 between, whatever comes in."""

import math

import jax
import jax.numpy as jnp


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """Of the shape and dtype of `x`.

    `jax.nn.gelu` rounds between its steps where `x` is bfloat16, and asks for erfc, which takes
    about three times as long as erf.
    """
    x_float32 = x.astype(jnp.float32)
    return (x_float32 * normal_share(x_float32)).astype(x.dtype)


@gelu.defjvp
def gelu_with_slope(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Training keeps the slope for the backward pass, in the dtype of `x`, and nothing else."""
    (x,), (x_dot,) = primals, tangents
    x_float32 = x.astype(jnp.float32)
    share = normal_share(x_float32)
    density = jnp.exp(-0.5 * x_float32 * x_float32) / math.sqrt(2 * math.pi)
    slope = (share + x_float32 * density).astype(x.dtype)
    return (x_float32 * share).astype(x.dtype), slope * x_dot


def normal_share(x: jax.Array) -> jax.Array:
    """Phi(x): the share of a normal distribution up to x."""
    return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))
