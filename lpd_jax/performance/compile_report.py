"""The real train step and decode, compiled for TPU slices that are not there: what they need.

Memory and what is sent between devices are read off the compiled program. Times are predictions:
arithmetic at a stated share of the peak, links at their data-sheet rate, both from `topology`.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.generation.generate import generate_images
from lpd_jax.models.family import abstract_params, count_params, init_boxed
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQ_MODELS
from lpd_jax.performance.hlo import find_collectives
from lpd_jax.performance.topology import Chip, Slice, slice_mesh
from lpd_jax.runtime.markdown import markdown_table
from lpd_jax.runtime.mesh import batch_sharding, state_shardings
from lpd_jax.training.compute_config import transformer_options
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.losses import make_lpd_loss
from lpd_jax.training.optimizer import make_optimizer
from lpd_jax.training.train_step import abstract_state, init_state, jit_train_step
from lpd_jax.training.utilization import training_flops

PEAK_SHARE = 0.5  # of the peak that matrix products of these widths are taken to reach
# What rematerialisation adds to forward and backward, in thirds of them: the forward pass again.
REMAT_FACTOR = {"none": 1.0, "minimal": 1.05, "full": 4 / 3}


class DoesNotFit(ValueError):  # noqa: N818 - what it says of the program
    """The program needs more memory than a device has."""


@dataclasses.dataclass(frozen=True)
class CompiledFor:
    """What a compiled program needs of each device, and how long that is predicted to take."""

    what: str
    model: str
    slice: str
    num_devices: int
    mesh: tuple[int, ...]
    batch_per_device: float
    parts: int  # that the batch is cut into
    compile_seconds: float
    memory_bytes: int  # arguments and temporaries at their peak
    model_flops: float  # of a device
    sent_bytes: float  # by a device
    compute_seconds: float
    link_seconds: float

    @property
    def seconds(self) -> tuple[float, float]:
        """With all sending hidden behind arithmetic, and with none."""
        hidden = max(self.compute_seconds, self.link_seconds)
        return hidden, self.compute_seconds + self.link_seconds

    @property
    def efficiency(self) -> tuple[float, float]:
        """Share of the time that is arithmetic: with no sending hidden, and with all."""
        hidden, open_ = self.seconds
        return self.compute_seconds / open_, self.compute_seconds / hidden


def compile_training(model: LPDConfig, config: TrainConfig, where: Slice) -> CompiledFor:
    """Compiles the train step of a config, its whole batch and its mesh's fsdp, for a slice.

    Where it does not fit, the batch is cut into twice as many parts, until one image is left.

    Raises:
        ValueError: libtpu is missing, or nothing fits into the devices' memory.
    """
    parts = config.compute.accumulate_steps
    while True:
        compute = dataclasses.replace(config.compute, accumulate_steps=parts)
        try:
            return compile_step(model, dataclasses.replace(config, compute=compute), where)
        except DoesNotFit:
            if config.batch_size % (2 * parts * where.num_devices):
                raise
            parts *= 2


def compile_step(model: LPDConfig, config: TrainConfig, where: Slice) -> CompiledFor:
    """Compiles the train step just as the config has it; DoesNotFit is what it says."""
    mesh = slice_mesh(where, config.mesh.fsdp)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    options = transformer_options(config.compute, model, "tpu")

    def init(key: jax.Array) -> Any:
        return init_state(init_boxed(model, key), optimizer, config.ema_decay)

    key = jax.random.key(0)
    state = abstract_state(init, state_shardings(init, mesh, key), key)
    rows = batch_sharding(mesh)
    batch = {
        "tokens": shape((config.batch_size, model.num_tokens), jnp.int32, rows),
        "labels": shape((config.batch_size,), jnp.int32, rows),
    }
    step = jit_train_step(
        make_lpd_loss(model, train=True, **options),
        optimizer,
        jax.tree.map(lambda leaf: leaf.sharding, state),
        config.compute.accumulate_steps,
        config.ema_decay,
    )
    compiled, seconds = compile_on(mesh, step, state, batch, jax.eval_shape(lambda: key))
    flops = (training_flops(model) or 0) * config.batch_size / where.num_devices
    executed = flops * REMAT_FACTOR[config.compute.remat]
    return read_off(
        compiled,
        mesh,
        where,
        what="train step",
        model=size_name(model),
        batch_per_device=config.batch_size / where.num_devices,
        parts=config.compute.accumulate_steps,
        compile_seconds=seconds,
        model_flops=flops,
        compute_seconds=executed / (PEAK_SHARE * where.chip.peak_flops),
    )


def compile_decoding(
    model: LPDConfig, num_steps: int, guidance_scale: float, batch_per_device: int, where: Slice
) -> CompiledFor:
    """Compiles a whole schedule with VQ-16's decoder, in bfloat16, the batch over all devices.

    Where it does not fit, the batch is halved, until one image is left.

    Raises:
        ValueError: libtpu is missing, or nothing fits into the devices' memory.
    """
    while True:
        try:
            return compile_schedule(model, num_steps, guidance_scale, batch_per_device, where)
        except DoesNotFit:
            if batch_per_device == 1:
                raise
            batch_per_device //= 2


def compile_schedule(
    model: LPDConfig, num_steps: int, guidance_scale: float, batch_per_device: int, where: Slice
) -> CompiledFor:
    """Compiles the decode just as it is asked for; DoesNotFit is what it says."""
    mesh = slice_mesh(where, 1)
    rows = batch_sharding(mesh)
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())
    tokenizer, schedule = VQ_MODELS["vq16"], make_schedule(model.num_tokens, num_steps)
    count = batch_per_device * where.num_devices
    draw = functools.partial(
        generate_images,
        schedule=schedule,
        sampling=Sampling.make(),
        guidance=Guidance.make(guidance_scale),
        dtype=jnp.bfloat16,
    )

    def run(params: Any, tokenizer_params: Any, labels_B, order_BN, keys_B) -> jax.Array:
        return draw(model, params, tokenizer, tokenizer_params, labels_B, order_BN, keys_B)[0]

    params = [
        jax.tree.map(
            lambda leaf, dtype=dtype: shape(leaf.shape, dtype, everywhere), abstract_params(config)
        )
        for config, dtype in ((model, jnp.bfloat16), (tokenizer, jnp.float32))
    ]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    arguments = (
        shape((count,), jnp.int32, rows),
        shape((count, model.num_tokens), jnp.int32, rows),
        shape(keys.shape, keys.dtype, rows),
    )
    compiled, seconds = compile_on(mesh, jax.jit(run, out_shardings=rows), *params, *arguments)
    flops = decoding_flops(model, guidance_scale) * batch_per_device
    weights = 2 * sum(leaf.size for leaf in jax.tree.leaves(params[0]))
    return read_off(
        compiled,
        mesh,
        where,
        what=f"decode, {num_steps} steps",
        model=size_name(model),
        batch_per_device=batch_per_device,
        parts=1,
        compile_seconds=seconds,
        model_flops=flops,
        compute_seconds=decoding_seconds(flops, weights * num_steps, where.chip),
    )


def read_off(compiled: Any, mesh: jax.sharding.Mesh, where: Slice, **known: Any) -> CompiledFor:
    """Joins what is known of a program to what it needs; DoesNotFit where that is too much."""
    memory = check_memory(compiled, where)
    sent = sum(one.sent_bytes for one in find_collectives(compiled.as_text()))
    return CompiledFor(
        slice=where.name,
        num_devices=where.num_devices,
        mesh=tuple(mesh.shape.values()),
        memory_bytes=memory,
        sent_bytes=sent,
        link_seconds=sent / where.chip.axis_bandwidth,
        **known,
    )


def decoding_seconds(flops: float, weight_bytes: float, chip: Chip) -> float:
    """Arithmetic, or reading all weights in every step: whichever takes longer."""
    return max(flops / (PEAK_SHARE * chip.peak_flops), weight_bytes / chip.memory_bandwidth)


def decoding_flops(model: LPDConfig, guidance_scale: float) -> float:
    """FLOPs of one image's exact rows: each token once as a query, once as context."""
    forward = (training_flops(model) or 0) / 3
    return forward * (2 if guidance_scale != 1 else 1)


def compile_on(mesh: jax.sharding.Mesh, function: Any, *arguments: Any) -> tuple[Any, float]:
    """The compiled function, and the seconds that tracing and compiling took."""
    start = time.perf_counter()
    try:
        with jax.set_mesh(mesh):
            compiled = function.lower(*arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(f"memory: {str(error).splitlines()[0]}") from None
    return compiled, time.perf_counter() - start


def size_name(model: LPDConfig) -> str:
    """As "1.41 B, 48 x 1536": parameters, layers, width."""
    return f"{count_params(model) / 1e9:.3g} B, {model.num_layers} x {model.embed_dim}"


def check_memory(compiled: Any, where: Slice) -> int:
    """Bytes that a program needs of a device; DoesNotFit where that is too much.

    The compiler refuses temporaries that do not fit, but does not count what comes in.
    """
    needed = program_bytes(compiled)
    if needed > where.chip.memory_bytes:
        raise DoesNotFit(
            f"memory: the program needs {needed / 1e9:.1f} GB, a device of {where.name} has "
            f"{where.chip.memory_bytes / 1e9:g}"
        )
    return needed


def program_bytes(compiled: Any) -> int:
    """What comes in, what goes out, what is in between; memory used twice is counted once."""
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return int(stats.argument_size_in_bytes + stats.temp_size_in_bytes + outputs)


def shape(size: tuple[int, ...], dtype: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype, sharding=sharding)


def table(rows: list[CompiledFor]) -> list[str]:
    """The reports as lines of a Markdown table."""
    header = [
        "program", "model", "slice", "devices", "mesh", "images per device", "parts", "compile s",
        "memory GB", "model TFLOP", "sent GB", "arithmetic s", "links s", "total s", "efficiency",
    ]  # fmt: skip
    return markdown_table(header, map(cells, rows), num_texts=3)


def cells(row: CompiledFor) -> list[str]:
    return [
        row.what,
        row.model,
        row.slice,
        str(row.num_devices),
        "x".join(map(str, row.mesh)),
        f"{row.batch_per_device:g}",
        str(row.parts),
        f"{row.compile_seconds:.0f}",
        f"{row.memory_bytes / 1e9:.2f}",
        f"{row.model_flops / 1e12:.2f}",
        f"{row.sent_bytes / 1e9:.2f}",
        f"{row.compute_seconds:.3f}",
        f"{row.link_seconds:.3f}",
        " to ".join(f"{seconds:.3f}" for seconds in row.seconds),
        " to ".join(f"{100 * share:.0f} %" for share in row.efficiency),
    ]
