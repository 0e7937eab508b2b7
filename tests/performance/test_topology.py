"""Names of TPU slices."""

import types

import pytest

from lpd_jax.performance import topology
from lpd_jax.performance.topology import find_slice, find_slices
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import MeshConfig


@pytest.mark.parametrize(
    ("name", "shape", "num_devices"),
    [("v5e-1", (1, 1), 1), ("v5e-16", (4, 4), 16), ("v5e-256", (16, 16), 256),
     ("v6e-8", (2, 4), 8), ("v5p-8", (2, 2, 1), 4), ("v5p-512", (4, 8, 8), 256),
     ("h100", (1,), 1), ("8xa100", (8,), 8)],
)  # fmt: skip
def test_a_name_is_a_shape(name, shape, num_devices):
    where = find_slice(name)
    assert where.shape == shape and where.num_devices == num_devices


@pytest.mark.parametrize("name", ["v5e-3", "v9-16", "v5e", "v5p-2048000", "3xh100", "h200"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"^topology: got '{name}', allowed are names such as"):
        find_slice(name)


def test_gpus_are_compiled_for_once_with_each_kind_of_products():
    assert [found.title for found in find_slices("v5e-16")] == ["v5e-16"]
    triton, cublas = find_slices("8xh100")
    assert (triton.title, cublas.title) == ("8xh100, Triton", "8xh100, cuBLASLt")
    assert triton.compiler_options == {"xla_gpu_enable_triton_gemm": True}
    assert [found.products for found in find_slices("h100", ["cuBLASLt"])] == ["cuBLASLt"]
    assert find_slice("v5e-16").compiler_options == {}


@pytest.fixture
def no_compiler(monkeypatch):
    """Devices that only count, and meshes that are their shapes."""
    monkeypatch.setattr(topology, "slice_devices", lambda _: types.SimpleNamespace(devices=[]))

    def mesh_of(shape, _):
        if shape[1] in cut_badly:
            raise UserError("mesh: got a torus that is not cut so")
        return shape

    cut_badly = set()
    monkeypatch.setattr(topology, "mesh_of", mesh_of)
    return cut_badly


def test_a_slice_has_the_mesh_that_a_run_would_have(no_compiler):
    def shapes(name, *sizes):
        return [
            topology.slice_mesh(find_slice(name), MeshConfig(fsdp=fsdp, tensor=tensor))
            for fsdp, tensor in sizes
        ]

    assert shapes("8xh100", (1, 1), (2, 1), (3, 1), (8, 1), (64, 1)) == [
        (8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (1, 8, 1)
    ]  # fmt: skip
    assert shapes("v5e-256", (4, 1), (4, 4), (64, 8)) == [(64, 4, 1), (16, 4, 4), (1, 32, 8)]
    with pytest.raises(UserError, match="^mesh.tensor: got 3, allowed on v5e-16 are parts of its"):
        shapes("v5e-16", (1, 3))
    no_compiler |= {2, 4}
    assert shapes("v5p-512", (2, 1)) == [(32, 8, 1)]


@pytest.mark.parametrize(
    ("name", "group_size", "gigabytes"),
    [("v5e-256", 16, 100), ("v5e-256", 256, 200), ("v5e-256", 4, 50), ("v5e-256", 64, 100),
     ("v5e-16", 4, 50), ("v5e-16", 16, 100), ("v5p-512", 8, 200), ("v5p-512", 32, 400),
     ("v5p-512", 256, 600), ("8xh100", 4, 450)],
)  # fmt: skip
def test_a_group_sends_along_the_sides_that_it_fills(name, group_size, gigabytes):
    """Of a v5e only the whole pod's sides are rings, of a v5p those of whole cubes."""
    assert find_slice(name).link_bandwidth(group_size) == gigabytes * 1e9
