"""Attention that keeps no scores for the gradient, with bfloat16 products (flash attention's way).

The gradient computes scores again, once row by row and once key by key, since the CPU's bfloat16
kernels sum over the last axis of their left side only.

Dimension key: B batch, T rows that look, M rows they may see, N heads, K head width.
"""

from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_vjp
def attend_recomputing(
    q_BNTK: jax.Array, k_BNMK: jax.Array, v_BNMK: jax.Array, mask_TM: jax.Array
) -> jax.Array:
    """Softmax attention as `attention.attend`, its products of bfloat16 and summed in float32."""
    return keep_for_gradient(q_BNTK, k_BNMK, v_BNMK, mask_TM)[0]


def keep_for_gradient(
    q_BNTK: jax.Array, k_BNMK: jax.Array, v_BNMK: jax.Array, mask_TM: jax.Array
) -> tuple[jax.Array, Any]:
    dtype, mask_TM = v_BNMK.dtype, mask_TM.reshape(-1, 1, *mask_TM.shape[-2:])
    q_BNTK = (q_BNTK * q_BNTK.shape[-1] ** -0.5).astype(jnp.bfloat16)
    k_BNMK, v_BNMK = k_BNMK.astype(jnp.bfloat16), v_BNMK.astype(jnp.bfloat16)
    scores_BNTM = jnp.where(mask_TM, product("BNTK,BNMK->BNTM", q_BNTK, k_BNMK), -1e30)
    largest_BNT1 = scores_BNTM.max(-1, keepdims=True)
    weights_BNTM = jnp.exp(scores_BNTM - largest_BNT1)
    total_BNT1 = weights_BNTM.sum(-1, keepdims=True)
    mixed_BNTK = product("BNTM,BNMK->BNTK", weights_BNTM, v_BNMK) / total_BNT1
    log_total_BNT = (largest_BNT1 + jnp.log(total_BNT1))[..., 0]
    kept = q_BNTK, k_BNMK, v_BNMK, mask_TM, mixed_BNTK, log_total_BNT
    return mixed_BNTK.astype(dtype), kept


def gradient_of_attention(kept: Any, dmixed_BNTK: jax.Array) -> tuple[Any, ...]:
    q_BNTK, k_BNMK, v_BNMK, mask_TM, mixed_BNTK, log_total_BNT = kept
    dtype = dmixed_BNTK.dtype
    # What the softmax takes from each row: the sum over keys of weight times its gradient.
    taken_BNT = (dmixed_BNTK.astype(jnp.float32) * mixed_BNTK).sum(-1)
    dmixed_BNTK = dmixed_BNTK.astype(jnp.bfloat16)

    scores_BNTM = product("BNTK,BNMK->BNTM", q_BNTK, k_BNMK)
    weights_BNTM = jnp.where(mask_TM, jnp.exp(scores_BNTM - log_total_BNT[..., None]), 0.0)
    dweights_BNTM = product("BNTK,BNMK->BNTM", dmixed_BNTK, v_BNMK)
    dscores_BNTM = weights_BNTM * (dweights_BNTM - taken_BNT[..., None])
    dq_BNTK = product("BNTM,BNMK->BNTK", dscores_BNTM, k_BNMK) * q_BNTK.shape[-1] ** -0.5

    scores_BNMT = product("BNMK,BNTK->BNMT", k_BNMK, q_BNTK)
    weights_BNMT = jnp.exp(scores_BNMT - log_total_BNT[..., None, :])
    weights_BNMT = jnp.where(mask_TM.swapaxes(-1, -2), weights_BNMT, 0.0)
    dv_BNMK = product("BNMT,BNTK->BNMK", weights_BNMT, dmixed_BNTK)
    dweights_BNMT = product("BNMK,BNTK->BNMT", v_BNMK, dmixed_BNTK)
    dscores_BNMT = weights_BNMT * (dweights_BNMT - taken_BNT[..., None, :])
    dk_BNMK = product("BNMT,BNTK->BNMK", dscores_BNMT, q_BNTK)
    return dq_BNTK.astype(dtype), dk_BNMK.astype(dtype), dv_BNMK.astype(dtype), None


attend_recomputing.defvjp(keep_for_gradient, gradient_of_attention)


def product(spec: str, left: jax.Array, right: jax.Array) -> jax.Array:
    left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    return jnp.einsum(spec, left, right, preferred_element_type=jnp.float32)
