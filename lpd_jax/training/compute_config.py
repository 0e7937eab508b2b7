"""How a training step computes, whatever it computes: precision, memory, kernels."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.models.attention import ATTENTION, choose_attention
from lpd_jax.models.family import transformer_of
from lpd_jax.models.products import PRODUCTS, rounded_product
from lpd_jax.models.tokenizer_family import TokenizerFamily
from lpd_jax.models.transformer import REMAT
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.runtime.config_fields import check_types, later_field
from lpd_jax.runtime.errors import UserError, shown

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """Of the training pass.

    dtype: of activations and matrix products; parameters, softmax, norms and loss stay float32.
    remat: what the backward pass computes again. "none" nothing, "minimal" all but the matrix
        products, "full" all of a block.
    attention: the kernel: "auto", "einsum", "xla", "cudnn" (GPU), "splash" (TPU), "recompute"
        (bfloat16 products, for CPUs that have them).
    products: of what numbers the matrix products are, and a video tokenizer's convolutions:
        "plain", of `dtype`; "bfloat16", rounded to it and summed in float32 while all between stays
        float32. That is faster than either dtype on CPUs with bfloat16 units (AMX). With a dtype of
        bfloat16 they are the same.
    loss_chunk: how many tokens of each image have logits in memory at once, a divisor of all of
        them; 0: all. Nothing is computed twice; of large codebooks it saves much memory.
    unroll_layers: layer after layer is compiled, not one for all: a program that takes five to
        seven times as long to compile, and copies nothing from layer to layer. Worth it on GPUs.
    accumulate_steps: parts that a batch is cut into, one after the other, so that its activations
        fit; the update is that of the whole batch. Validation and drawing take such parts, too.
    """

    dtype: str = "float32"
    remat: str = "none"
    attention: str = "auto"
    products: str = later_field("plain")
    loss_chunk: int = later_field(0)
    unroll_layers: bool = later_field(False)
    accumulate_steps: int = 1

    def __post_init__(self):
        check_types(self, "compute")
        choices = {"dtype": DTYPES, "remat": tuple(REMAT), "attention": ("auto", *ATTENTION)}
        choices["products"] = tuple(PRODUCTS)
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(
                    f"compute.{name}: got {shown(getattr(self, name))}, allowed are "
                    f"{', '.join(allowed)}"
                )
        if self.loss_chunk < 0:
            raise UserError(f"compute.loss_chunk: got {self.loss_chunk}, allowed is 0 or more")
        if self.accumulate_steps < 1:
            raise UserError(
                f"compute.accumulate_steps: got {self.accumulate_steps}, allowed is at least 1"
            )


def transformer_options(
    compute: ComputeConfig, model: TransformerConfig, platform: str | None = None
) -> dict[str, Any]:
    """Options of `Family.logits` and `Family.loss`.

    Args:
        compute: what the config asks for.
        model: sizes that a kernel may not fit.
        platform: "cpu", "gpu" or "tpu"; None is what this process runs on.

    Raises:
        UserError: a kernel that cannot run there.
    """
    dtype = jnp.dtype(compute.dtype)
    head_dim, kernel = transformer_of(model).head_dim, "einsum"
    if head_dim is not None:
        platform = platform or jax.default_backend()
        kernel = choose_attention(compute.attention, platform, dtype, head_dim, model.num_tokens)
    options = {"dtype": dtype, "attention": kernel, "remat": compute.remat}
    if compute.unroll_layers:
        options["unroll_layers"] = True
    if compute.products == "plain" or compute.dtype == "bfloat16":
        return options
    check_rounded_products()
    if compute.attention == "auto" and kernel == "einsum":
        kernel = "recompute"
    return options | {"attention": kernel, "products": compute.products}


def check_rounded_products() -> None:
    """Raises UserError where the device cannot multiply bfloat16 and sum in float32."""
    ones = jnp.ones((64, 64))
    try:
        jax.jit(jax.grad(lambda x: rounded_product(x, ones).sum()))(ones).block_until_ready()
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"compute.products: got 'bfloat16', allowed on this device is 'plain' ({reason})"
        ) from None


def check_for_tokenizer(compute: ComputeConfig, family: TokenizerFamily) -> None:
    """Raises UserError for what only transformers know, or other tokenizers."""
    if compute.loss_chunk:
        raise UserError(
            f"compute.loss_chunk: got {compute.loss_chunk}, allowed for a tokenizer is 0"
        )
    if compute.unroll_layers:
        raise UserError("compute.unroll_layers: got True, allowed for a tokenizer is False")
    if compute.products not in family.products:
        raise UserError(
            f"compute.products: got {shown(compute.products)}, allowed for a {family.title} "
            f"tokenizer is {', '.join(family.products)}"
        )
    if compute.products != "plain":
        check_rounded_products()


def loss_options(
    compute: ComputeConfig,
    model: TransformerConfig,
    num_size_lists: int,
    platform: str | None = None,
) -> dict[str, Any]:
    """Options of `Family.loss` in training: of `transformer_options`, the lists, the chunks.

    Raises:
        UserError: as that; several lists for a family that draws none, or a kernel with one mask;
            chunks that do not divide the tokens.
    """
    options = transformer_options(compute, model, platform)
    family = transformer_of(model)
    if num_size_lists > 1 and not family.draws_sizes:
        raise UserError(
            f"num_size_lists: got {num_size_lists}, allowed for {family.title} is 1: it draws no "
            "group sizes"
        )
    if num_size_lists > 1 and options["attention"] == "splash":
        raise UserError(
            f"num_size_lists: got {num_size_lists}, allowed with compute.attention='splash' is 1: "
            "its mask is one for all images"
        )
    if compute.loss_chunk:
        if not family.has_head:
            raise UserError(
                f"compute.loss_chunk: got {compute.loss_chunk}, allowed for {family.title} is 0"
            )
        if model.num_tokens % compute.loss_chunk:
            raise UserError(
                f"compute.loss_chunk: got {compute.loss_chunk}, allowed are 0 and divisors of the "
                f"{model.num_tokens} tokens"
            )
        options["loss_chunk"] = compute.loss_chunk
    return {"num_size_lists": num_size_lists, **options}
