"""The device mesh, and the one table from logical axis names to mesh axes."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils

from lpd_jax.runtime.config_fields import check_types
from lpd_jax.runtime.errors import UserError

RULES = {
    # activations
    "act_batch": ("data", "fsdp"),
    "act_len": None,
    "act_embed": None,
    "act_heads": "tensor",
    "act_mlp": "tensor",
    # parameters
    "embed": "fsdp",
    "heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "codebook": None,
    "layers": None,
}
MESH_AXES = ("data", "fsdp", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; `data=-1` takes what the other two leave."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        check_types(self, "mesh")


def make_mesh(
    config: MeshConfig = MeshConfig(), num_devices: int | None = None
) -> jax.sharding.Mesh:
    """Lays devices out as (data, fsdp, tensor).

    Args:
        config: devices along each axis.
        num_devices: use only the first ones; None uses all.

    Raises:
        UserError: the axes do not multiply to the number of devices.
    """
    count = jax.device_count() if num_devices is None else num_devices
    rest = config.fsdp * config.tensor
    data = count // rest if config.data == -1 and rest > 0 else config.data
    if min(data, config.fsdp, config.tensor) < 1 or data * rest != count:
        raise UserError(
            f"mesh: got data={config.data}, fsdp={config.fsdp}, tensor={config.tensor}, "
            f"allowed are positive sizes (data may be -1) whose product is the {count} devices"
        )
    return mesh_of((data, config.fsdp, config.tensor), jax.devices()[:count])


def mesh_of(shape: tuple[int, int, int], devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
    """Devices as a mesh: neighbours on a TPU's torus become neighbours in it.

    Slices of TPUs, which a slower network joins, each hold an equal part of the data axis.

    Raises:
        UserError: slices that do not divide the data axis, or a torus that JAX does not cut so.
    """
    # Auto axes: Linen's logical names are hints to the compiler, not part of the types.
    axis_types = (jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        try:
            return jax.make_mesh(shape, MESH_AXES, axis_types=axis_types, devices=devices)
        except NotImplementedError:
            raise UserError(
                f"mesh: got {' x '.join(map(str, shape))} (data x fsdp x tensor), allowed on this "
                "slice are sizes that are products of whole sides of its torus"
            ) from None
    if shape[0] % slices:
        raise UserError(
            f"mesh.data: got {shape[0]}, allowed are multiples of the {slices} slices, which only "
            "data may span"
        )
    inside = (shape[0] // slices, *shape[1:])
    grid = mesh_utils.create_hybrid_device_mesh(inside, (slices, 1, 1), devices)
    return jax.sharding.Mesh(grid, MESH_AXES, axis_types=axis_types)


def constrain(x: jax.Array, *names: str) -> jax.Array:
    """Shards an activation by logical axis names; outside of one of our meshes it does nothing."""
    if unknown := set(names) - set(RULES):
        raise ValueError(f"logical axes: got {sorted(unknown)}, allowed are {sorted(RULES)}")
    if jax.sharding.get_abstract_mesh().axis_names != MESH_AXES:  # none, or one of a program's own
        return x
    return jax.lax.with_sharding_constraint(x, jax.P(*(RULES[name] for name in names)))


def batch_sharding(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
    """Sharding of arrays whose first axis is the batch."""
    return jax.sharding.NamedSharding(mesh, jax.P(RULES["act_batch"]))


def fetch(x: jax.Array) -> np.ndarray:
    """An array on the host, from whatever processes hold its parts; all of them call it."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def first_process_says(fact: bool) -> bool:
    """What process 0 says, who may be the only one to know; all of them call it."""
    if jax.process_count() == 1:
        return fact
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(fact)))


def spread(x: np.ndarray, sharding: jax.sharding.Sharding | None) -> Any:
    """Lays out over all devices what every process holds whole; None leaves it as it is."""
    if sharding is None:
        return x
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def check_batch_size(batch_size: int, mesh: jax.sharding.Mesh, accumulate_steps: int = 1) -> None:
    """Raises UserError where the mesh, or the parts of a step, do not divide the global batch."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size < 1 or batch_size % (shards * accumulate_steps):
        parts = f" x {accumulate_steps} accumulated parts" if accumulate_steps > 1 else ""
        raise UserError(
            f"batch_size: got {batch_size}, allowed are multiples of data x fsdp = {shards} shards"
            f"{parts}"
        )


def state_shardings(init: Callable, mesh: jax.sharding.Mesh, *args: Any) -> Any:
    """Shardings of what `init(*args)` returns, read off the logical names in its leaves."""
    shapes = jax.eval_shape(lambda *args: without_empty_boxes(init(*args)), *args)
    specs = nn.get_partition_spec(shapes)
    return nn.logical_to_mesh_sharding(specs, mesh, list(RULES.items()))


def check_mesh_divides(init: Callable, mesh: jax.sharding.Mesh, *args: Any) -> None:
    """Raises UserError where the mesh does not cut what `init(*args)` returns into equal parts."""
    shapes = nn.unbox(jax.eval_shape(lambda *args: without_empty_boxes(init(*args)), *args))
    shardings = state_shardings(init, mesh, *args)
    for (path, leaf), sharding in zip(
        jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(shardings), strict=True
    ):
        for size, axes in zip(leaf.shape, sharding.spec, strict=False):
            names = (axes,) if isinstance(axes, str) else axes or ()
            parts = math.prod(mesh.shape[name] for name in names)
            if size % parts:
                of = "/".join(str(key.key) for key in path if hasattr(key, "key"))
                raise UserError(
                    f"mesh.{' x '.join(names)}: got {parts}, allowed are divisors of {size}, "
                    f"which it cuts in {of} {leaf.shape}"
                )


def init_sharded(init: Callable, mesh: jax.sharding.Mesh, *args: Any) -> Any:
    """Runs `init(*args)` with every leaf created where it will live; returns it unboxed."""
    shardings = state_shardings(init, mesh, *args)
    with jax.set_mesh(mesh):
        made = jax.jit(lambda *args: without_empty_boxes(init(*args)), out_shardings=shardings)
        return nn.unbox(made(*args))


def without_empty_boxes(tree: Any) -> Any:
    """A tree whose boxes of axis names all hold an array.

    An optimizer for some of the leaves puts a node without leaves where the others are.
    """

    def open_empty(box: Any) -> Any:
        is_empty = isinstance(box, nn.meta.AxisMetadata) and not jax.tree.leaves(box)
        return box.value if is_empty else box

    return jax.tree.map(open_empty, tree, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata))
