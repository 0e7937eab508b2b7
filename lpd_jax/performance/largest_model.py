"""The largest LPD whose train step fits a TPU slice: compiled at growing widths until one does not.

Sizes grow as the published ones do from L to XXL, about as many layers as width / 32, with heads of
64. Every device holds one image, parameters are cut over all devices, blocks are computed again.
"""

import dataclasses

from lpd_jax.models.family import count_params
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.performance.compile_report import CompiledFor, DoesNotFit, compile_step
from lpd_jax.performance.topology import Slice
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig

WIDTH_STEP = 512
LAYER_WIDTH, HEAD_WIDTH = 32, 64
STATE_BYTES = 12  # of a parameter: itself and Adam's two moments, float32


def compile_largest(model: LPDConfig, config: TrainConfig, where: Slice) -> CompiledFor:
    """The train step of the widest model that fits; the next width does not fit.

    Args:
        model: grid, codebook and classes are taken over.
        config: all but the batch, the mesh and what is recomputed.
        where: the slice.

    Raises:
        ValueError: not even the smallest fits.
    """
    compute = dataclasses.replace(config.compute, remat="full", accumulate_steps=1)
    mesh = dataclasses.replace(config.mesh, data=-1, fsdp=where.num_devices, tensor=1)
    config = dataclasses.replace(config, batch_size=where.num_devices, mesh=mesh, compute=compute)
    steps = first_guess(model, where)
    largest = try_width(model, config, where, steps)
    if largest is None:
        while largest is None and steps > 1:
            steps -= 1
            largest = try_width(model, config, where, steps)
        if largest is None:
            raise UserError(f"topology: got {where.name!r}, which no model fits")
        return largest
    while wider := try_width(model, config, where, steps + 1):
        largest, steps = wider, steps + 1
    return largest


def try_width(
    model: LPDConfig, config: TrainConfig, where: Slice, steps: int
) -> CompiledFor | None:
    """None where it does not fit."""
    try:
        return compile_step(scaled(model, steps * WIDTH_STEP), config, where)
    except DoesNotFit:
        return None


def first_guess(model: LPDConfig, where: Slice) -> int:
    """Widths, in steps, at which parameters and optimizer take half of the memory."""
    room = where.num_devices * where.chip.memory_bytes / 2
    steps = 1
    while STATE_BYTES * count_params(scaled(model, (steps + 1) * WIDTH_STEP)) < room:
        steps += 1
    return steps


def scaled(model: LPDConfig, width: int) -> LPDConfig:
    """The model at another width, with the layers and heads that go with it."""
    return dataclasses.replace(
        model,
        embed_dim=width,
        num_layers=width // LAYER_WIDTH,
        num_heads=width // HEAD_WIDTH,
    )
