"""What a deep model needs, told from the same model with few layers: compiled twice, then a line.

A decode has all its layers one after another, so that its compilation grows with them; what it
needs grows by the same for each layer.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from lpd_jax.performance.compile_report import size_name
from lpd_jax.performance.kernel_kinds import KernelKinds, Outside
from lpd_jax.performance.kernels import Kernels
from lpd_jax.performance.program_needs import DoesNotFit, ProgramNeeds
from lpd_jax.performance.topology import Slice
from lpd_jax.runtime.errors import UserError

LINES = (
    "compile_seconds", "memory_bytes", "model_flops", "sent_bytes", "compute_seconds",
    "link_seconds",
)  # fmt: skip


def check_layers(model: Any, layers: tuple[int, int]) -> tuple[int, int]:
    """Two numbers of layers, fewer and more, that models of these sizes may have.

    Raises:
        UserError: they are not, or the model has no layers to count.
    """
    fewer, more = layers
    most = getattr(model, "num_layers", 0)
    if not 0 < fewer < more <= most:
        raise UserError(
            f"decode_layers: got {fewer},{more}, allowed are two numbers, the second larger, up to "
            f"the {most} that the model has"
        )
    return layers


def compile_few(
    compile_model: Callable[[Any], ProgramNeeds],
    model: Any,
    layers: tuple[int, int],
    tpu_slice: Slice,
) -> ProgramNeeds:
    """What `compile_model(model)` would say, of two compilations with fewer layers.

    The seconds are those of both together.

    Raises:
        UserError: what `compile_model` and `check_layers` do; or more memory than a device has.
    """
    counts = check_layers(model, layers)
    fewer, more = (compile_model(dataclasses.replace(model, num_layers=n)) for n in counts)
    needs = continued(fewer, more, model.num_layers)
    limit = tpu_slice.chip.memory_bytes
    if needs.memory_bytes > limit or fewer.batch_per_device != more.batch_per_device:
        raise DoesNotFit(
            f"memory: got a program of {needs.memory_bytes / 1e9:.1f} GB by its layers, allowed "
            f"are the {limit / 1e9:g} GB of a device of {tpu_slice.name}"
        )
    return dataclasses.replace(
        needs,
        model=f"{size_name(model)} (of {counts[0]} and {counts[1]})",
        compile_seconds=fewer.compile_seconds + more.compile_seconds,
    )


def continued(fewer: ProgramNeeds, more: ProgramNeeds, num_layers: int) -> ProgramNeeds:
    """The line through two programs, at a number of layers."""
    share = (num_layers - fewer.num_layers) / (more.num_layers - fewer.num_layers)

    def line(first: float, second: float) -> Any:
        value = max(0.0, first + share * (second - first))  # a few things vanish in larger programs
        return round(value) if isinstance(first, int) else value

    def lines(kind: Any, first: Any, second: Any) -> Any:
        """Of each number in a tuple; names are those of the larger program."""
        if first is None or second is None:
            return None
        pairs = zip(first, second, strict=True)
        return kind(*(b if isinstance(b, str) else line(a, b) for a, b in pairs))

    return dataclasses.replace(
        more,
        **{name: line(getattr(fewer, name), getattr(more, name)) for name in LINES},
        num_layers=num_layers,
        kernels=lines(Kernels, fewer.kernels, more.kernels),
        kinds=lines(KernelKinds, fewer.kinds, more.kinds),
        outside_graphs=lines(Outside, fewer.outside_graphs, more.outside_graphs),
    )
