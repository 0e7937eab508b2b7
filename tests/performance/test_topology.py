"""Names of TPU slices."""

import pytest

from lpd_jax.performance import topology
from lpd_jax.performance.topology import find_slice, find_slices


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


def test_gpus_of_a_machine_take_any_divisor_of_theirs(monkeypatch):
    """There is no torus whose axes must stay whole."""
    monkeypatch.setattr(topology, "slice_devices", lambda found: found.num_devices)
    monkeypatch.setattr("jax.experimental.topologies.make_mesh", lambda count, shape, _: shape)
    shapes = [topology.slice_mesh(find_slice("8xh100"), fsdp) for fsdp in (1, 2, 3, 8, 64)]
    assert shapes == [(8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (1, 8, 1)]
