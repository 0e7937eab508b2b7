"""What each task runs here: a function to compile, and the arguments to run it with."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lpd_jax.generation.generate import generate_tokens, image_keys
from lpd_jax.models.family import transformer_of
from lpd_jax.models.pixels import decode_images, encode_images, pixels_dtype
from lpd_jax.performance.benchmark_case import BenchmarkCase, Inputs
from lpd_jax.performance.benchmark_model import (
    BenchmarkModel,
    drawing_params,
    tokenizer_params,
    transformer_params,
)
from lpd_jax.training.compute_config import transformer_options
from lpd_jax.training.optimizer import OptimizerConfig, make_optimizer
from lpd_jax.training.train_step import init_state, train_step


class Workload(NamedTuple):
    """A function that is not yet compiled.

    `carry`: the first output takes the place of the first argument, which is donated.
    """

    function: Any  # jitted
    arguments: tuple[Any, ...]
    carry: bool = False


def make_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    """The program of a task, its weights loaded."""
    make = {
        "tokens": draw_workload,
        "images": draw_workload,
        "decode": decode_workload,
        "encode": encode_workload,
        "gradient": gradient_workload,
        "train": train_workload,
    }[case.task]
    return make(case, model, inputs)


def runner(compiled: Any, workload: Workload) -> Callable[[], None]:
    """Runs a compiled workload once, and waits for the device."""
    arguments = list(workload.arguments)

    def run() -> None:
        outputs = compiled(*arguments)
        jax.block_until_ready(outputs)
        if workload.carry:
            arguments[0] = outputs[0]

    return run


def draw_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    """As the pipeline draws: one program; guidance and sampling are data."""
    request, transformer = inputs.request, model.transformer
    params = {"transformer": drawing_params(model, case.dtype)}
    if case.task == "images":
        params["tokenizer"] = tokenizer_params(model)

    def draw(params, labels_B, order_BN, keys_B, sampling, guidance):
        tokens_BN = generate_tokens(
            transformer,
            params["transformer"],
            labels_B,
            order_BN,
            keys_B,
            schedule=request.schedule,
            sampling=sampling,
            guidance=guidance,
            num_segments=case.num_segments,
            dtype=jnp.dtype(case.dtype),
        )
        if case.task == "tokens":
            return tokens_BN
        pictures = model.tokenizer, params["tokenizer"], tokens_BN, transformer.grid_size
        return decode_images(*pictures, dtype=pixels_dtype(case.dtype)), tokens_BN

    keys_B = image_keys(request.seed, 0, case.batch_size)
    rows = jax.device_put((request.labels, request.order))
    return Workload(jax.jit(draw), (params, *rows, keys_B, request.sampling, request.guidance))


def decode_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    dtype = pixels_dtype(case.dtype)
    decode = functools.partial(decode_images, model.tokenizer, dtype=dtype)
    function = jax.jit(lambda params, tokens: decode(params, tokens, model.transformer.grid_size))
    return Workload(function, (tokenizer_params(model), jax.device_put(inputs.tokens_BN)))


def encode_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    function = jax.jit(functools.partial(encode_images, model.tokenizer))
    return Workload(function, (tokenizer_params(model), jax.device_put(inputs.images_BHWC)))


def gradient_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    loss, batch = training_loss(case, model, inputs)
    function = jax.jit(jax.value_and_grad(loss, has_aux=True))
    params = transformer_params(model, "float32")
    return Workload(function, (params, batch, jax.random.key(0)))


def train_workload(case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs) -> Workload:
    """On one device; the optimizer is the published one."""
    loss, batch = training_loss(case, model, inputs)
    optimizer = make_optimizer(OptimizerConfig(), num_steps=1)
    step = functools.partial(train_step, loss_function=loss, optimizer=optimizer)
    state = init_state(transformer_params(model, "float32"), optimizer)
    transformer_params.forget()  # the first step takes them over
    function = jax.jit(step, donate_argnums=0)
    return Workload(function, (state, batch, jax.random.key(0)), carry=True)


def training_loss(
    case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
) -> tuple[Any, dict[str, jax.Array]]:
    """The loss that training takes, dropout included, and a batch of random tokens."""
    options = transformer_options(case.compute, model.transformer)
    batch = {"tokens": inputs.tokens_BN, "labels": inputs.request.labels}
    return transformer_of(model.transformer).loss(train=True, **options), jax.device_put(batch)
