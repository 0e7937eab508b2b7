"""Attention through a mask, by whichever kernel the device has.

Dimension key: B batch, T rows that look, M rows or cache slots they may see, N heads, K head width.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.models.attention_recompute import attend_recomputing
from lpd_jax.models.products import LEAST_HALVES, wide_einsum
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.mesh import RULES

logger = logging.getLogger(__name__)

# (q [B, N, T, K], k [B, N, M, K], v [B, N, M, K], mask [T, M] or [B, T, M]) -> [B, N, T, K]
Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
SPLASH_BLOCK = 128  # rows and keys come in multiples of it
CUDNN_MAX_HEAD_DIM = 128


def attend(
    q_BNTK: jax.Array, k_BNMK: jax.Array, v_BNMK: jax.Array, mask_TM: jax.Array
) -> jax.Array:
    """Softmax attention, in float32 whatever the inputs; `mask_TM` is True where a row may look.

    It is one for all images, or `[B, T, M]`, one for each.
    """
    if q_BNTK.shape[2] < LEAST_HALVES and q_BNTK.dtype == k_BNMK.dtype == jnp.bfloat16:
        # CPUs have no kernel for one row, and others compute as much for two.
        twice = attend(two_rows(q_BNTK), k_BNMK, v_BNMK, two_rows(mask_TM))
        return twice[:, :, :1]
    q_BNTK = q_BNTK * q_BNTK.shape[-1] ** -0.5
    scores_BNTM = wide_einsum("BNTK,BNMK->BNTM", q_BNTK, k_BNMK)
    scores_BNTM = jnp.where(for_heads(mask_TM), scores_BNTM, -1e30)
    largest_BNT1 = jax.lax.stop_gradient(scores_BNTM.max(-1, keepdims=True))
    weights_BNTM = jnp.exp(scores_BNTM - largest_BNT1)
    # Divided after the product with the values, where the array is smaller.
    total_BNT1 = weights_BNTM.sum(-1, keepdims=True)
    mixed_BNTK = wide_einsum("BNTM,BNMK->BNTK", weights_BNTM.astype(v_BNMK.dtype), v_BNMK)
    return (mixed_BNTK / total_BNT1).astype(v_BNMK.dtype)


def two_rows(x_TM: jax.Array) -> jax.Array:
    """`[..., 1, M]` -> `[..., 2, M]`, both the same."""
    return jnp.concatenate([x_TM, x_TM], axis=-2)


def for_heads(mask_TM: jax.Array) -> jax.Array:
    """A mask with axes for images and heads: `[1, 1, T, M]`, or `[B, 1, T, M]` for one each."""
    return mask_TM.reshape(-1, 1, *mask_TM.shape[-2:])


def attend_library(
    q_BNTK: jax.Array,
    k_BNMK: jax.Array,
    v_BNMK: jax.Array,
    mask_TM: jax.Array,
    implementation: Literal["xla", "cudnn"],
) -> jax.Array:
    """`jax.nn.dot_product_attention` by "xla" or "cudnn" (flash attention on NVIDIA GPUs)."""
    mixed_BTNK = jax.nn.dot_product_attention(
        q_BNTK.swapaxes(1, 2),
        k_BNMK.swapaxes(1, 2),
        v_BNMK.swapaxes(1, 2),
        mask=for_heads(mask_TM),
        implementation=implementation,
    )
    return mixed_BTNK.swapaxes(1, 2)


def attend_splash(
    q_BNTK: jax.Array,
    k_BNMK: jax.Array,
    v_BNMK: jax.Array,
    mask_TM: jax.Array,
    interpret: bool = False,
) -> jax.Array:
    """Splash (block-sparse flash) attention on TPUs; the mask is data, so all schedules share it.

    Args:
        interpret: run the kernel's steps as plain JAX, on any device.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    def attend_local(q_BNTK, k_BNMK, v_BNMK, mask_TM):
        kernel = splash.make_splash_mha(
            mask_TM[None],
            block_sizes=splash_blocks(*mask_TM.shape),
            head_shards=1,
            q_seq_shards=1,
            interpret=interpret,
        )
        # Made under a trace, this flag is an array, which the kernel's `if` cannot read.
        kernel.fwd_mask_info = kernel.fwd_mask_info._replace(is_dynamic_mask=True)

        def one_head(q_TK, k_MK, v_MK):
            return kernel(q_TK[None], k_MK[None], v_MK[None])[0]

        return jax.vmap(jax.vmap(one_head))(q_BNTK * q_BNTK.shape[-1] ** -0.5, k_BNMK, v_BNMK)

    if jax.sharding.get_abstract_mesh().empty:
        return attend_local(q_BNTK, k_BNMK, v_BNMK, mask_TM)
    # The compiler cannot cut a kernel in pieces: each device is given its own rows and heads.
    spec = jax.P(RULES["act_batch"], RULES["act_heads"])
    mapped = jax.shard_map(
        attend_local, in_specs=(spec, spec, spec, jax.P()), out_specs=spec, check_vma=False
    )
    return mapped(q_BNTK, k_BNMK, v_BNMK, mask_TM)


def splash_blocks(num_rows: int, num_keys: int) -> Any:
    """Blocks as large as the arrays allow: a group's mask leaves few blocks empty."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    q, kv = (int(np.gcd(size, 512)) for size in (num_rows, num_keys))
    names: dict[str, Any] = {"block_q": q, "block_kv": kv, "block_kv_compute": kv}
    names |= {"block_q_dkv": q, "block_kv_dkv": kv, "block_kv_dkv_compute": kv}
    return splash.BlockSizes(**names, block_q_dq=q, block_kv_dq=kv)


ATTENTION: dict[str, Attend] = {
    "einsum": attend,
    "xla": functools.partial(attend_library, implementation="xla"),
    "cudnn": functools.partial(attend_library, implementation="cudnn"),
    "splash": attend_splash,
    "recompute": attend_recomputing,
}


def attend_flash(
    q_BNTK: jax.Array, k_BNMK: jax.Array, v_BNMK: jax.Array, mask_TM: jax.Array
) -> jax.Array:
    """cuDNN's kernel where the program is compiled for an NVIDIA GPU, wherever it is traced."""
    mask_TM = jnp.broadcast_to(mask_TM, (*mask_TM.shape[:-2], q_BNTK.shape[2], mask_TM.shape[-1]))
    return jax.lax.platform_dependent(
        q_BNTK, k_BNMK, v_BNMK, mask_TM, cuda=ATTENTION["cudnn"], default=attend
    )


KERNELS = ATTENTION | {"flash": attend_flash}


def cached_attention(dtype: jnp.dtype, head_dim: int) -> str:
    """The kernel of a cached pass, a key of `KERNELS`, on the device that it is traced for."""
    flash = device_choices().flash_attention and fits_cudnn(dtype, head_dim)
    if flash and jax.default_backend() == "gpu":  # not one that is compiled for elsewhere
        flash = cudnn_runs(jnp.dtype(dtype), head_dim)
    return "flash" if flash else "einsum"


def cached_head_dim(dtype: jnp.dtype, head_dim: int) -> int:
    """Width of a cache's heads: zeros fill up those that cuDNN's kernel takes only so."""
    padded = device_choices().padded(head_dim)
    return padded if cached_attention(dtype, padded) == "flash" else head_dim


@functools.cache
def cudnn_runs(dtype: jnp.dtype, head_dim: int) -> bool:
    """Whether the kernel works here: a driver or a cuDNN that lacks it must not end the drawing."""
    with jax.ensure_compile_time_eval():
        rows_1N8K = jnp.ones((1, 2, 8, head_dim), dtype)
        attend = jax.jit(ATTENTION["cudnn"])
        try:
            attend(*[rows_1N8K] * 3, jnp.ones((8, 8), bool)).block_until_ready()
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error).splitlines()[0]
            logger.warning("cuDNN's flash attention does not run here, einsum does: %s", reason)
            return False
    return True


def fits_cudnn(dtype: jnp.dtype, head_dim: int) -> bool:
    """Whether cuDNN's flash attention takes such numbers and heads."""
    is_half = jnp.dtype(dtype).itemsize == 2
    return is_half and not head_dim % 8 and head_dim <= CUDNN_MAX_HEAD_DIM


def choose_attention(
    name: str, platform: str, dtype: jnp.dtype, head_dim: int, num_tokens: int
) -> str:
    """The kernel that a config's `compute.attention` stands for on a device.

    "auto" is cuDNN on NVIDIA GPUs where it fits, else einsum: for a few hundred rows the scores fit
    beside everything else, and einsum skips those that nobody needs.

    Args:
        name: "auto", or a key of `ATTENTION`.
        platform: "cpu", "gpu" or "tpu".
        dtype: of the activations.
        head_dim: width of a head.
        num_tokens: N; a training pass has 2N rows.

    Raises:
        UserError: an unknown name, or a kernel that cannot run there.
    """
    cudnn_fits = fits_cudnn(dtype, head_dim)
    if name == "auto":
        return "cudnn" if platform == "gpu" and cudnn_fits else "einsum"
    if name not in ATTENTION:
        raise UserError(
            f"compute.attention: got {shown(name)}, allowed are auto, {', '.join(ATTENTION)}"
        )
    needs = {
        "cudnn": (
            platform == "gpu" and cudnn_fits,
            f"a GPU, bfloat16 and heads of a multiple of 8 up to {CUDNN_MAX_HEAD_DIM} wide",
        ),
        "splash": (
            platform == "tpu" and not num_tokens % SPLASH_BLOCK,
            f"a TPU and a multiple of {SPLASH_BLOCK} tokens",
        ),
    }
    runs, wanted = needs.get(name, (True, ""))
    if not runs:
        raise UserError(
            f"compute.attention: got {shown(name)} on {platform} with {jnp.dtype(dtype).name}, "
            f"heads {head_dim} wide and {num_tokens} tokens, allowed is that only with {wanted}"
        )
    return name


def attend_in_two(
    q_BNTK: jax.Array,
    k_BNTK: jax.Array,
    v_BNTK: jax.Array,
    mask_TT: jax.Array,
    num_context: int,
    kernel: str = "einsum",
) -> jax.Array:
    """Attention where the first `num_context` rows see none of the others: those are skipped.

    With as many queries as context rows that is a quarter of the scores.

    Args:
        kernel: a key of `ATTENTION`.
    """
    n, run = num_context, ATTENTION[kernel]
    context_BNTK = run(q_BNTK[:, :, :n], k_BNTK[:, :, :n], v_BNTK[:, :, :n], mask_TT[..., :n, :n])
    queries_BNTK = run(q_BNTK[:, :, n:], k_BNTK, v_BNTK, mask_TT[..., n:, :])
    return jnp.concatenate([context_BNTK, queries_BNTK], axis=2)
