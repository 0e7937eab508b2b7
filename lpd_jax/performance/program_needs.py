"""What a compiled program needs of each device, and how long that is predicted to take."""

import dataclasses
import re
from typing import Any

import jax

from lpd_jax.performance.hlo import find_collectives
from lpd_jax.performance.kernel_kinds import KernelKinds, Outside, kernel_kinds
from lpd_jax.performance.kernels import Kernels, count_kernels
from lpd_jax.performance.topology import Slice
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.markdown import markdown_table

# Of a GPU, as measured on an H100 (results/gpu.md): what the shortest kernel takes in a CUDA graph,
# and the share of the data sheet's bandwidth that a large copy reaches.
KERNEL_SECONDS, BANDWIDTH_SHARE = 2.1e-6, 0.72
MORE_OUTSIDE_SECONDS = 2e-6  # of a kernel that the host starts by itself
COMPUTED_AGAIN = re.compile(r"^\s+(?:ROOT )?%?\S+\.remat\d* = ", re.MULTILINE)

COLUMNS = (
    "program", "model", "slice", "devices", "mesh", "images per device", "parts", "compile s",
    "memory GB", "model TFLOP", "sent GB", "async",
    "arithmetic s", "links s", "total s", "efficiency", "utilisation",
)  # fmt: skip
KERNEL_COLUMNS = (
    "kernels", "a step", "a layer", "outside graphs", "casts + copies", "float32 products",
    "attention", "moved GB",
)  # fmt: skip


class DoesNotFit(UserError):  # noqa: N818 - what it says of the program
    """The program needs more memory than a device has."""


@dataclasses.dataclass(frozen=True)
class ProgramNeeds:
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
    async_share: float = 1.0  # of that time: arithmetic may run beside it
    peak_flops: float = 0.0  # of a device, a second
    kernels: Kernels | None = None  # of a GPU, as what follows
    kinds: KernelKinds | None = None
    outside_graphs: Outside | None = None
    num_layers: int = 0
    num_steps: int = 0  # of a decode
    computed_again: int = 0  # instructions that the compiler repeats, since memory ends

    @property
    def launch_seconds(self) -> float:
        """Of all kernels, those outside of graphs by what they take there."""
        if self.kernels is None:
            return 0.0
        alone = self.outside_graphs or Outside(0, 0)
        turns = self.num_steps or self.num_layers * self.parts
        outside = alone.once + alone.a_turn * turns
        return KERNEL_SECONDS * self.kernels.launches + MORE_OUTSIDE_SECONDS * outside

    @property
    def kernels_a_step(self) -> float | None:
        """Of a decode."""
        return self.kinds and self.num_steps and self.kinds.in_loops / self.num_steps or None

    @property
    def kernels_a_layer(self) -> float | None:
        """Of one layer of one step of a decode, or forward and backward in training."""
        if self.kinds is None or not self.num_layers:
            return None
        if self.num_steps:
            return self.kinds.in_layers / self.num_steps / self.num_layers
        return self.kinds.in_loops / self.parts / self.num_layers

    @property
    def seconds(self) -> tuple[float, float]:
        """With all that is sent asynchronously hidden behind arithmetic, and with nothing.

        Kernels hide nothing of each other: they run one after another.
        """
        waiting = (1 - self.async_share) * self.link_seconds
        running = self.compute_seconds + self.launch_seconds
        beside = max(running, self.async_share * self.link_seconds)
        return beside + waiting, running + self.link_seconds

    @property
    def efficiency(self) -> tuple[float, float]:
        """Share of the time that is arithmetic: with no sending hidden, and with all."""
        hidden, open_ = self.seconds
        return self.compute_seconds / open_, self.compute_seconds / hidden

    @property
    def utilization(self) -> tuple[float, float]:
        """Of the peak, by what the model needs: in the same order."""
        hidden, open_ = self.seconds
        needed = self.model_flops / self.peak_flops if self.peak_flops else 0.0
        return needed / open_, needed / hidden


def needs_of(
    compiled: Any, mesh: jax.sharding.Mesh, tpu_slice: Slice, **known: Any
) -> ProgramNeeds:
    """Joins what is known of a program to what it needs; DoesNotFit where that is too much."""
    memory, text, chip = check_memory(compiled, tpu_slice), compiled.as_text(), tpu_slice.chip
    collectives = find_collectives(text)
    seconds = [x.sent_bytes / tpu_slice.link_bandwidth(x.group_size) for x in collectives]
    beside = sum(time for time, x in zip(seconds, collectives, strict=True) if x.is_async)
    if chip.platform == "gpu":
        known["kernels"] = kernels = count_kernels(text)
        known["kinds"] = kernel_kinds(text)
        moving_seconds = kernels.moved_bytes / (BANDWIDTH_SHARE * chip.memory_bandwidth)
        known["compute_seconds"] = max(known["compute_seconds"], moving_seconds)
        known["computed_again"] = len(COMPUTED_AGAIN.findall(text))
    return ProgramNeeds(
        slice=tpu_slice.title,
        num_devices=tpu_slice.num_devices,
        mesh=tuple(mesh.shape.values()),
        memory_bytes=memory,
        sent_bytes=sum(x.sent_bytes for x in collectives),
        link_seconds=sum(seconds),
        async_share=beside / sum(seconds) if any(seconds) else 1.0,
        peak_flops=chip.peak_flops,
        **known,
    )


def check_memory(compiled: Any, tpu_slice: Slice) -> int:
    """Bytes that a program needs of a device; DoesNotFit where that is too much.

    The compiler refuses temporaries that do not fit, but does not count what comes in.
    """
    needed = program_bytes(compiled)
    if needed > tpu_slice.chip.memory_bytes:
        raise DoesNotFit(
            f"memory: got a program of {needed / 1e9:.1f} GB, allowed are the "
            f"{tpu_slice.chip.memory_bytes / 1e9:g} GB of a device of {tpu_slice.name}"
        )
    return needed


def program_bytes(compiled: Any) -> int:
    """What comes in, what goes out, what is in between; memory used twice is counted once."""
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return int(stats.argument_size_in_bytes + stats.temp_size_in_bytes + outputs)


def table(rows: list[ProgramNeeds]) -> list[str]:
    """Programs as lines of a Markdown table."""
    of_gpus = any(row.kernels for row in rows)
    return markdown_table(
        COLUMNS + KERNEL_COLUMNS * of_gpus,
        [cells(row) + cells_of_kernels(row) * of_gpus for row in rows],
        num_texts=3,
    )


def cells_by_column(row: ProgramNeeds) -> dict[str, str]:
    """All cells of a program, by the heads of their columns."""
    columns = zip(COLUMNS + KERNEL_COLUMNS, cells(row) + cells_of_kernels(row), strict=True)
    return dict(columns)


def cells_of_kernels(row: ProgramNeeds) -> list[str]:
    kernels, kinds, outside = row.kernels, row.kinds, row.outside_graphs
    if kernels is None or kinds is None:
        return ["-"] * len(KERNEL_COLUMNS)
    return [
        f"{kernels.launches:,}",
        *(f"{x:.4g}" if x else "-" for x in (row.kernels_a_step, row.kernels_a_layer)),
        f"{outside.once} + {outside.a_turn}" if outside else "-",
        f"{kinds.casts} + {kinds.copies}",
        str(kinds.float32_products),
        kinds.attention.removeprefix("__cudnn$"),
        f"{kernels.moved_bytes / 1e9:.2f}",
    ]


def cells(row: ProgramNeeds) -> list[str]:
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
        f"{100 * row.async_share:.0f} %" if row.sent_bytes else "-",
        f"{row.compute_seconds:.3f}",
        f"{row.link_seconds:.3f}",
        " to ".join(f"{seconds:.3f}" for seconds in row.seconds),
        *(
            " to ".join(f"{100 * share:.0f} %" for share in shares)
            for shares in (row.efficiency, row.utilization)
        ),
    ]
