"""TPU slices as their makers name them: shape, memory, arithmetic and links of a device."""

import math
import re
from typing import Any, NamedTuple

import jax

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.utilization import PEAK_FLOPS


class Chip(NamedTuple):
    """Data-sheet figures of one JAX device."""

    name: str  # as libtpu calls the generation
    peak_flops: float  # bfloat16, dense
    memory_bytes: float
    memory_bandwidth: float  # bytes/s
    axis_bandwidth: float  # bytes/s that a device sends along one axis of the torus, both ways
    num_axes: int  # of the torus


CHIPS = {
    "v5e": Chip("v5e", PEAK_FLOPS["TPU v5 lite"], 16e9, 819e9, 100e9, 2),
    "v6e": Chip("v6e", PEAK_FLOPS["TPU v6 lite"], 32e9, 1640e9, 200e9, 2),
    "v5p": Chip("v5p", PEAK_FLOPS["TPU v5p"], 95e9, 2765e9, 200e9, 3),
}
# Chips -> shape of a slice.
SHAPES_2D = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16)}
SHAPES_2D[256] = (16, 16)
SHAPES_3D = {4: (2, 2, 1), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4), 64: (4, 4, 4)}
SHAPES_3D |= {128: (4, 4, 8), 256: (4, 8, 8), 512: (8, 8, 8), 1024: (8, 8, 16)}


class Slice(NamedTuple):
    name: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def num_devices(self) -> int:
        return math.prod(self.shape)


def find_slice(name: str) -> Slice:
    """A slice by its name: "v5e-16" has 16 chips; "v5p-512" has 512 cores, which is 256 chips.

    Raises:
        UserError: an unknown name.
    """
    match = re.fullmatch(r"(v\w+)-(\d+)", name)
    if match and match[1] in CHIPS:
        chip, count = CHIPS[match[1]], int(match[2])
        shapes = SHAPES_2D if chip.num_axes == 2 else SHAPES_3D
        chips = count // 2 if match[1] == "v5p" else count
        if chips in shapes:
            return Slice(name, chip, shapes[chips])
    raise UserError(
        f"topology: got {shown(name)}, allowed are names such as v5e-16, v6e-64 or v5p-512 "
        f"({', '.join(CHIPS)}; 2D slices of {', '.join(map(str, SHAPES_2D))} chips)"
    )


def slice_devices(tpu_slice: Slice) -> Any:
    """The topology for ahead-of-time compilation; libtpu makes it without a TPU.

    Raises:
        UserError: libtpu is not installed.
    """
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
            "the "
            "version that jax[tpu] asks for"
        ) from error


def slice_mesh(tpu_slice: Slice, fsdp: int) -> jax.sharding.Mesh:
    """A mesh whose fsdp axis is the smallest union of whole torus axes that has `fsdp` devices."""
    from jax.experimental import topologies

    from lpd_jax.runtime.mesh import MESH_AXES

    sides = {1, *tpu_slice.shape}
    for first in tpu_slice.shape:
        sides |= {first * side for side in tpu_slice.shape if tpu_slice.shape.count(first) > 1}
    sides = {side for side in sides if tpu_slice.num_devices % side == 0} | {tpu_slice.num_devices}
    size = min(side for side in sides if side >= min(fsdp, tpu_slice.num_devices))
    shape = (tpu_slice.num_devices // size, size, 1)
    return topologies.make_mesh(slice_devices(tpu_slice), shape, MESH_AXES)
