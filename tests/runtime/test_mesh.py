"""The mesh, and where parameters and batches go."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from lpd_jax.runtime.mesh import (
    RULES,
    MeshConfig,
    batch_sharding,
    check_batch_size,
    check_mesh_divides,
    constrain,
    init_sharded,
    make_mesh,
    mesh_of,
    state_shardings,
)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=1, fsdp=8), (1, 8, 1)),
    ],
)
def test_data_takes_the_devices_that_the_others_leave(config, shape):
    assert tuple(make_mesh(config, num_devices=8).shape.values()) == shape


@pytest.mark.parametrize(
    "config", [MeshConfig(fsdp=3), MeshConfig(data=2), MeshConfig(fsdp=0), MeshConfig(tensor=-1)]
)
def test_a_mesh_that_is_not_all_devices_is_refused(config):
    with pytest.raises(ValueError, match=r"^mesh: got data=.* product is the 8 devices$"):
        make_mesh(config, num_devices=8)


def test_the_batch_is_split_over_data_and_fsdp():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    batch = jax.device_put(jnp.zeros((8, 3)), batch_sharding(mesh))
    assert {shard.data.shape for shard in batch.addressable_shards} == {(2, 3)}
    check_batch_size(8, mesh)
    for size in (6, 0):
        with pytest.raises(ValueError, match=f"^batch_size: got {size}, .* = 4 shards"):
            check_batch_size(size, mesh)


def test_parameters_are_created_where_their_axis_names_say():
    def init(key):
        normal = nn.initializers.normal()
        boxed = nn.with_logical_partitioning(normal, ("embed", "mlp"))(key, (8, 6))
        return {"kernel": boxed, "bias": jnp.zeros(6)}

    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    params = init_sharded(init, mesh, jax.random.key(0))
    assert params["kernel"].sharding.spec == jax.P("fsdp", "tensor")
    assert {shard.data.shape for shard in params["kernel"].addressable_shards} == {(4, 3)}
    assert params["bias"].sharding.is_fully_replicated
    shardings = state_shardings(init, mesh, jax.random.key(0))
    assert shardings["kernel"] == params["kernel"].sharding


def test_a_mesh_that_does_not_divide_a_parameter_is_refused():
    def init(key):
        normal = nn.initializers.normal()
        boxed = nn.with_logical_partitioning(normal, ("embed", "mlp"))(key, (20, 6))
        return {"block": {"kernel": boxed, "bias": jnp.zeros(7)}}

    check_mesh_divides(init, make_mesh(MeshConfig(fsdp=4, tensor=2)), jax.random.key(0))
    message = r"^mesh.fsdp: got 8, allowed are divisors of 20, which it cuts in block/kernel \(20, "
    with pytest.raises(ValueError, match=message):
        check_mesh_divides(init, make_mesh(MeshConfig(fsdp=8)), jax.random.key(0))


def test_constrain_shards_inside_a_mesh_and_does_nothing_outside():
    x = jnp.zeros((8, 4, 6))
    names = ("act_batch", "act_len", "act_mlp")
    assert constrain(x, *names) is x
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        y = jax.jit(lambda x: constrain(x, *names))(x)
    assert {shard.data.shape for shard in y.addressable_shards} == {(2, 4, 3)}


def test_an_unknown_axis_name_is_refused():
    with pytest.raises(ValueError, match=r"^logical axes: got \['act_width'\], allowed are "):
        constrain(jnp.zeros((2, 2)), "act_batch", "act_width")
    assert "act_batch" in RULES


class SliceDevice:
    """What tells a mesh of TPUs from one of others."""

    platform = device_kind = "TPU v5 lite"
    process_index = 0

    def __init__(self, slice_index: int, place: int):
        self.slice_index, self.core_on_chip = slice_index, 0
        self.coords = (place % 2, place // 2, 0)
        self.id = 4 * slice_index + place

    def __repr__(self):
        return f"{self.slice_index}/{self.coords}"


def test_slices_divide_the_data_axis_alone():
    devices = [SliceDevice(index, place) for index in range(2) for place in range(4)]
    mesh = mesh_of((4, 2, 1), devices)
    assert mesh.axis_names == ("data", "fsdp", "tensor") and mesh.devices.shape == (4, 2, 1)
    slices = [[device.slice_index for device in row.flat] for row in mesh.devices]
    assert slices == [[0, 0], [0, 0], [1, 1], [1, 1]]
    with pytest.raises(ValueError, match="^mesh.data: got 1, allowed are multiples of the 2"):
        mesh_of((1, 8, 1), devices)


def test_a_torus_that_cannot_be_cut_so_is_refused(monkeypatch):
    def make_mesh(*_, **__):
        raise NotImplementedError("Failed to find assignment for logical_axis_index 1")

    monkeypatch.setattr(jax, "make_mesh", make_mesh)
    with pytest.raises(ValueError, match=r"^mesh: got 4 x 2 x 1 \(data x fsdp x tensor\), allowed"):
        mesh_of((4, 2, 1), [SliceDevice(0, place) for place in range(8)])
