"""The real train step and decode, compiled for TPUs and GPUs that are not there: what they need.

Memory, what is sent between devices and the kernels of a GPU are read off the compiled program.
Times are predictions: arithmetic at a stated share of the peak, links and memory at their
data-sheet rates, from `topology`.
"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.decoding.device_choices import device_choices
from lpd_jax.generation.generate import generate_images
from lpd_jax.models.family import family_of, is_tokenizer, tokenizer_of, transformer_of
from lpd_jax.models.parameters import abstract_params, count_params
from lpd_jax.models.settings import Generation
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.performance.kernel_kinds import Outside, outside_of_graphs
from lpd_jax.performance.program_needs import DoesNotFit, ProgramNeeds, needs_of
from lpd_jax.performance.topology import Chip, Slice, slice_mesh
from lpd_jax.performance.traced_flops import traced_flops
from lpd_jax.performance.training_program import training_program
from lpd_jax.runtime.mesh import MeshConfig, batch_sharding
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.utilization import training_flops

PEAK_SHARE = 0.5  # of the peak that matrix products of these widths are taken to reach
# What rematerialisation adds to forward and backward, in thirds of them: the forward pass again.
REMAT_FACTOR = {"none": 1.0, "minimal": 1.05, "full": 4 / 3}


def compile_training(model: Any, config: TrainConfig, tpu_slice: Slice) -> ProgramNeeds:
    """Compiles the train step of a config, its whole batch and its mesh's fsdp, for a slice.

    Where it does not fit, the batch is cut into twice as many parts, until one image is left.
    Where a GPU's compiler makes it fit by computing things again, that is tried, too: parts are
    often faster.

    Raises:
        UserError: libtpu or the plugin for GPUs is missing, or nothing fits into the memory.
    """
    parts, best = config.compute.accumulate_steps, None
    while True:
        compute = dataclasses.replace(config.compute, accumulate_steps=parts)
        is_last = bool(config.batch_size % (2 * parts * tpu_slice.num_devices))
        try:
            needs = compile_step(model, dataclasses.replace(config, compute=compute), tpu_slice)
        except DoesNotFit:
            if is_last:
                raise
        else:
            if best is not None and best.seconds <= needs.seconds:
                return best
            if is_last or not needs.computed_again:
                return needs
            best = needs
        parts *= 2


def compile_step(model: Any, config: TrainConfig, tpu_slice: Slice) -> ProgramNeeds:
    """Compiles the train step just as the config has it; DoesNotFit is what it says."""
    mesh = slice_mesh(tpu_slice, config.mesh)
    step, state, batch = training_program(model, config, mesh, tpu_slice.chip.platform)
    arguments = state, batch, jax.eval_shape(lambda: jax.random.key(0))
    compiled, seconds, outside = compile_for(tpu_slice, mesh, step, *arguments)
    if is_tokenizer(model):
        flops, compute_seconds = tokenizer_costs(config, compiled, tpu_slice, mesh, step, arguments)
    else:
        flops, compute_seconds = transformer_costs(model, config, tpu_slice)
    return needs_of(
        compiled,
        mesh,
        tpu_slice,
        what="train step",
        model=size_name(model),
        batch_per_device=config.batch_size / tpu_slice.num_devices,
        parts=config.compute.accumulate_steps,
        compile_seconds=seconds,
        model_flops=flops,
        compute_seconds=compute_seconds,
        outside_graphs=outside,
        num_layers=getattr(model, "num_layers", 0),
    )


def transformer_costs(model: Any, config: TrainConfig, tpu_slice: Slice) -> tuple[float, float]:
    """FLOPs of a device in one step, and the seconds that they are predicted to take."""
    flops = (training_flops(model) or 0) * config.batch_size / tpu_slice.num_devices
    executed = flops * REMAT_FACTOR[config.compute.remat]
    return flops, executed / (PEAK_SHARE * tpu_slice.chip.peak_flops)


def tokenizer_costs(
    config: TrainConfig,
    compiled: Any,
    tpu_slice: Slice,
    mesh: jax.sharding.Mesh,
    step: Any,
    arguments: tuple[Any, ...],
) -> tuple[float, float]:
    """The same of a tokenizer, with the frozen network and the discriminator.

    Its convolutions may wait for memory, so that the bytes that the compiler counts do, too.
    """
    chip, parts = tpu_slice.chip, config.compute.accumulate_steps
    if costs := compiled.cost_analysis():
        # Of parts, which are a loop, the compiler counts one.
        flops, moved = (parts * costs[name] for name in ("flops", "bytes accessed"))
    else:  # of GPUs the compiler tells none
        with jax.set_mesh(mesh):
            flops = traced_flops(step.trace(*arguments).jaxpr) / tpu_slice.num_devices
        moved = 0.0  # `needs_of` counts it
    return flops, max(flops / (PEAK_SHARE * chip.peak_flops), moved / chip.memory_bandwidth)


def how_to_draw(model: TransformerConfig, config: TrainConfig) -> Generation:
    """As the run draws its samples, and as the family does where the config does not say.

    Raises:
        UserError: a schedule that the family does not know.
    """
    family = transformer_of(model)
    generation = family.defaults().updated(vars(config.generation), "generation")
    family.schedule(generation.num_steps, generation.group_sizes)
    return generation


def compile_decoding(
    model: TransformerConfig,
    tokenizer: Any,
    generation: Generation,
    batch_per_device: int,
    tpu_slice: Slice,
    layers_share: float = 1.0,
) -> ProgramNeeds:
    """Compiles a whole schedule with the tokenizer's decoder, the batch over all devices.

    Where it does not fit, the batch is halved, until one image is left.

    Args:
        model, tokenizer: their configs.
        generation: of `how_to_draw`; the transformer computes in bfloat16 whatever it says.
        layers_share: of the layers of the model that it stands for, whose cache decides on scans.

    Raises:
        UserError: libtpu or the plugin for GPUs is missing, or nothing fits into the memory.
    """
    while True:
        try:
            return compile_schedule(
                model, tokenizer, generation, batch_per_device, tpu_slice, layers_share
            )
        except DoesNotFit:
            if batch_per_device == 1:
                raise
            batch_per_device //= 2


def compile_schedule(
    model: TransformerConfig,
    tokenizer: Any,
    generation: Generation,
    batch_per_device: int,
    tpu_slice: Slice,
    layers_share: float = 1.0,
) -> ProgramNeeds:
    """Compiles the decode just as it is asked for; DoesNotFit is what it says."""
    mesh = slice_mesh(tpu_slice, MeshConfig())
    schedule = transformer_of(model).schedule(generation.num_steps, generation.group_sizes)
    draw = functools.partial(
        generate_images,
        schedule=schedule,
        sampling=generation.sampling,
        guidance=generation.guidance,
        output_size=generation.output_size,
        dtype=jnp.bfloat16,
    )

    def run(params: Any, tokenizer_params: Any, labels_B, order_BN, keys_B) -> jax.Array:
        drawn_by = model, params, tokenizer, tokenizer_params
        unseen_bytes = device_choices().unseen_bytes * layers_share
        return draw(*drawn_by, labels_B, order_BN, keys_B, unseen_bytes=unseen_bytes)[0]

    params = [
        params_everywhere(config, dtype, mesh)
        for config, dtype in ((model, jnp.bfloat16), (tokenizer, jnp.float32))
    ]
    images = images_to_draw(batch_per_device * tpu_slice.num_devices, model.num_tokens, mesh)
    function = jax.jit(run, out_shardings=batch_sharding(mesh))
    compiled, seconds, outside = compile_for(tpu_slice, mesh, function, *params, *images)
    flops = drawing_flops(model, generation) * batch_per_device
    weights = 2 * sum(leaf.size for leaf in jax.tree.leaves(params[0]))
    return needs_of(
        compiled,
        mesh,
        tpu_slice,
        what=f"decode, {schedule.num_steps} steps",
        model=size_name(model),
        batch_per_device=batch_per_device,
        parts=1,
        compile_seconds=seconds,
        model_flops=flops,
        compute_seconds=decoding_seconds(flops, weights * schedule.num_steps, tpu_slice.chip),
        outside_graphs=outside,
        num_layers=getattr(model, "num_layers", 0),
        num_steps=schedule.num_steps,
    )


def params_everywhere(config: Any, dtype: Any, mesh: jax.sharding.Mesh) -> Any:
    """Shapes of the parameters in `dtype`, prepared for drawing, whole on every device."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())
    params = abstract_params(config)
    with jax.set_mesh(mesh):  # as they lie there, not here
        params = jax.eval_shape(family_of(config).for_drawing, params)
    return jax.tree.map(lambda leaf: shape(leaf.shape, dtype, everywhere), params)


def images_to_draw(count: int, num_tokens: int, mesh: jax.sharding.Mesh) -> Any:
    """Shapes of labels, orders and keys, spread over all devices."""
    rows = batch_sharding(mesh)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    return (
        shape((count,), jnp.int32, rows),
        shape((count, num_tokens), jnp.int32, rows),
        shape(keys.shape, keys.dtype, rows),
    )


def decoding_seconds(flops: float, weight_bytes: float, chip: Chip) -> float:
    """Arithmetic, or reading all weights in every step: whichever takes longer."""
    return max(flops / (PEAK_SHARE * chip.peak_flops), weight_bytes / chip.memory_bandwidth)


def drawing_flops(model: TransformerConfig, generation: Generation) -> float:
    """FLOPs of drawing one image: a teacher-forced pass, which has the rows of all steps."""
    forward = transformer_of(model).forward_flops() or 0.0
    return forward * (2 if generation.guidance.active else 1)


def compile_for(
    tpu_slice: Slice, mesh: jax.sharding.Mesh, function: Any, *arguments: Any
) -> tuple[Any, float, Outside | None]:
    """`compile_on`, and what the host of a GPU starts outside of graphs."""
    options = tpu_slice.compiler_options
    if tpu_slice.chip.platform != "gpu":
        return *compile_on(mesh, function, *arguments, options=options), None
    with tempfile.TemporaryDirectory() as folder:
        options |= {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        compiled = compile_on(mesh, function, *arguments, options=options)
        return *compiled, outside_of_graphs(Path(folder))


def compile_on(
    mesh: jax.sharding.Mesh,
    function: Any,
    *arguments: Any,
    options: Mapping[str, Any] | None = None,
) -> tuple[Any, float]:
    """The compiled function, and the seconds that tracing and compiling took."""
    start = time.perf_counter()
    try:
        with jax.set_mesh(mesh):
            compiled = function.lower(*arguments).compile(dict(options or {}))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(f"memory: {str(error).splitlines()[0]}") from None
    return compiled, time.perf_counter() - start


def size_name(model: Any) -> str:
    """As "LPD 1.41 B, 48 x 1536": method, parameters, and, where it has them, layers and width."""
    fields = vars(model)
    sizes = " x ".join(str(fields[name]) for name in ("num_layers", "embed_dim") if name in fields)
    if is_tokenizer(model):
        return f"{tokenizer_of(model).title} {count_params(model) / 1e6:.3g} M"
    method = transformer_of(model).describe()["method"]
    return f"{method} {count_params(model) / 1e9:.3g} B" + (f", {sizes}" if sizes else "")


def shape(size: tuple[int, ...], dtype: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype, sharding=sharding)
