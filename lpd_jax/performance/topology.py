"""TPU slices and machines with GPUs: shape, memory, arithmetic and links of a device."""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from lpd_jax.performance.gpu_targets import PRODUCTS, gpu_devices
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.mesh import MeshConfig, mesh_of
from lpd_jax.training.utilization import PEAK_FLOPS


class Chip(NamedTuple):
    """Data-sheet figures of one JAX device."""

    name: str  # as libtpu calls the generation; of a GPU, as `gpu_targets` does
    peak_flops: float  # bfloat16, dense
    memory_bytes: float
    memory_bandwidth: float  # bytes/s
    axis_bandwidth: float  # bytes/s that a device sends along one axis of the torus, both ways
    num_axes: int  # of the torus; GPUs of a machine all reach each other
    platform: str = "tpu"
    ring: int = 2  # sides of a slice that are a multiple of it close to a ring


CHIPS = {
    "v5e": Chip("v5e", PEAK_FLOPS["TPU v5 lite"], 16e9, 819e9, 100e9, 2, ring=16),
    "v6e": Chip("v6e", PEAK_FLOPS["TPU v6 lite"], 32e9, 1640e9, 200e9, 2, ring=16),
    "v5p": Chip("v5p", PEAK_FLOPS["TPU v5p"], 95e9, 2765e9, 200e9, 3, ring=4),
}
# NVLink gives half of its figure to each way.
CHIPS |= {
    "h100": Chip("h100", PEAK_FLOPS["NVIDIA H100"], 84.9e9, 3352e9, 450e9, 1, "gpu"),
    "a100": Chip("a100", PEAK_FLOPS["NVIDIA A100"], 85.1e9, 2039e9, 300e9, 1, "gpu"),
}
GPU_COUNTS = (1, 2, 4, 8)  # of one machine
# Chips -> shape of a slice.
SHAPES_2D = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16)}
SHAPES_2D[256] = (16, 16)
SHAPES_3D = {4: (2, 2, 1), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4), 64: (4, 4, 4)}
SHAPES_3D |= {128: (4, 4, 8), 256: (4, 8, 8), 512: (8, 8, 8), 1024: (8, 8, 16)}


class Slice(NamedTuple):
    name: str
    chip: Chip
    shape: tuple[int, ...]
    products: str = ""  # of a GPU: what its matrix products become

    @property
    def num_devices(self) -> int:
        return math.prod(self.shape)

    @property
    def title(self) -> str:
        return f"{self.name}, {self.products}" if self.products else self.name

    def link_bandwidth(self, group_size: int) -> float:
        """Bytes/s that a device sends in a collective of so many devices.

        Along each side that the group fills, both ways where the side closes to a ring, else one
        way; a group that fills none has a part of one side.
        """
        chip = self.chip
        if chip.platform == "gpu":
            return chip.axis_bandwidth
        subsets = [
            sides
            for count in range(1, len(self.shape) + 1)
            for sides in itertools.combinations(self.shape, count)
            if group_size % math.prod(sides) == 0
        ]
        filled = max(subsets, key=math.prod, default=(1,))
        return chip.axis_bandwidth * sum(0.5 if side % chip.ring else 1.0 for side in filled)

    @property
    def compiler_options(self) -> dict[str, Any]:
        return dict(PRODUCTS[self.products]) if self.products else {}


def find_slices(
    name: str, products: Sequence[str] = tuple(PRODUCTS), field: str = "topology"
) -> list[Slice]:
    """What a name stands for: a TPU slice, or GPUs once for each kind of matrix products."""
    found = find_slice(name, field)
    if found.chip.platform != "gpu":
        return [found]
    return [found._replace(products=kind) for kind in products]


def find_slice(name: str, field: str = "topology") -> Slice:
    """By its name: "v5e-16" has 16 chips; "v5p-512" has 512 cores, which is 256 chips; "8xh100".

    Raises:
        UserError: an unknown name.
    """
    match = re.fullmatch(r"(?:([1-9])x)?(h100|a100)", name)
    if match and int(match[1] or 1) in GPU_COUNTS:
        return Slice(name, CHIPS[match[2]], (int(match[1] or 1),))
    match = re.fullmatch(r"(v\w+)-(\d+)", name)
    if match and match[1] in CHIPS:
        chip, count = CHIPS[match[1]], int(match[2])
        shapes = SHAPES_2D if chip.num_axes == 2 else SHAPES_3D
        chips = count // 2 if match[1] == "v5p" else count
        if chips in shapes:
            return Slice(name, chip, shapes[chips])
    raise UserError(
        f"{field}: got {shown(name)}, allowed are names such as v5e-16, v6e-64, v5p-512, h100 or "
        f"8xa100 ({', '.join(CHIPS)}; 2D slices of {', '.join(map(str, SHAPES_2D))} chips, "
        f"machines of {', '.join(map(str, GPU_COUNTS))} GPUs)"
    )


def slice_devices(tpu_slice: Slice) -> Any:
    """The topology for ahead-of-time compilation; made without the devices.

    Raises:
        UserError: libtpu, or the plugin for GPUs, is not installed.
    """
    if tpu_slice.chip.platform == "gpu":
        return gpu_devices(tpu_slice.chip.name, tpu_slice.num_devices)
    from jax.experimental import topologies

    options = {"chips_per_host_bounds": (1, 1, 1)} if tpu_slice.num_devices == 1 else {}
    shape = "x".join(map(str, tpu_slice.shape))
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=f"{tpu_slice.chip.name}:{shape}", **options
        )
    except RuntimeError as error:
        raise UserError(
            f"topology: got {shown(tpu_slice.name)}, but {error}; it needs the package libtpu, of "
            "the version that jax[tpu] asks for"
        ) from error


def slice_mesh(tpu_slice: Slice, config: MeshConfig) -> jax.sharding.Mesh:
    """The mesh that a run with the config's `fsdp` and `tensor` has there; `data` takes the rest.

    Where the slice has fewer devices, or its torus cannot be cut so, fsdp is the next size that
    fits.

    Raises:
        UserError: a tensor axis that no part of the slice has.
    """
    devices, count = slice_devices(tpu_slice).devices, tpu_slice.num_devices
    rest = count // config.tensor
    for fsdp in range(min(config.fsdp, rest), rest + 1):
        if count % (fsdp * config.tensor):
            continue
        try:
            return mesh_of((rest // fsdp, fsdp, config.tensor), devices)
        except UserError:
            continue
    raise UserError(
        f"mesh.tensor: got {config.tensor}, allowed on {tpu_slice.name} are parts of its "
        f"{' x '.join(map(str, tpu_slice.shape))} devices"
    )
