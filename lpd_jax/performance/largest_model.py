"""The largest model of a family whose train step fits a TPU slice, found by compiling.

The width grows until a train step does not fit, and with it the layers, about width / 32, as from
LPD-L to LPD-XXL; heads stay 64 wide. Every device holds one image, parameters are cut over all
devices, blocks are computed again.
"""

import dataclasses
from typing import Any

from lpd_jax.models.parameters import count_params
from lpd_jax.performance.compile_report import compile_step
from lpd_jax.performance.program_needs import DoesNotFit, ProgramNeeds
from lpd_jax.performance.topology import Slice
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.config import TrainConfig

WIDTH_STEP = 512
LAYER_WIDTH, HEAD_WIDTH = 32, 64
STATE_BYTES = 12  # of a parameter: itself and Adam's two moments, float32


def compile_largest(model: Any, config: TrainConfig, tpu_slice: Slice) -> ProgramNeeds:
    """The train step of the widest model that fits; the next width does not fit.

    Args:
        model: of a transformer; all but its layers, width and heads stays.
        config: all but the batch, the mesh and what is recomputed.
        tpu_slice: the slice.

    Raises:
        UserError: not even the smallest fits, or a model that does not grow in layers and width.
    """
    compute = dataclasses.replace(config.compute, remat="full", accumulate_steps=1)
    mesh = dataclasses.replace(config.mesh, data=-1, fsdp=tpu_slice.num_devices, tensor=1)
    config = dataclasses.replace(
        config, batch_size=tpu_slice.num_devices, mesh=mesh, compute=compute
    )
    steps = first_guess(model, tpu_slice)
    largest = try_width(model, config, tpu_slice, steps)
    if largest is None:
        while largest is None and steps > 1:
            steps -= 1
            largest = try_width(model, config, tpu_slice, steps)
        if largest is None:
            raise UserError(
                f"topology: got {shown(tpu_slice.name)}, which no model fits; allowed are larger "
                "slices"
            )
        return largest
    while wider := try_width(model, config, tpu_slice, steps + 1):
        largest, steps = wider, steps + 1
    return largest


def try_width(model: Any, config: TrainConfig, tpu_slice: Slice, steps: int) -> ProgramNeeds | None:
    """None where it does not fit."""
    try:
        return compile_step(scaled(model, steps * WIDTH_STEP), config, tpu_slice)
    except DoesNotFit:
        return None


def first_guess(model: Any, tpu_slice: Slice) -> int:
    """Widths, in steps, at which parameters and optimizer take half of the memory."""
    room = tpu_slice.num_devices * tpu_slice.chip.memory_bytes / 2
    steps = 1
    while STATE_BYTES * count_params(scaled(model, (steps + 1) * WIDTH_STEP)) < room:
        steps += 1
    return steps


def scaled(model: Any, width: int) -> Any:
    """The model at another width, with the layers and heads that go with it."""
    sizes = {
        "embed_dim": width,
        "num_layers": width // LAYER_WIDTH,
        "num_heads": width // HEAD_WIDTH,
    }
    if missing := sizes.keys() - vars(model).keys():
        raise UserError(
            f"model: got a {type(model).__name__} without {', '.join(sorted(missing))}, allowed "
            "are models that grow by these"
        )
    return dataclasses.replace(model, **sizes)
