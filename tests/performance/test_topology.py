"""Names of TPU slices."""

import pytest

from lpd_jax.performance.topology import find_slice


@pytest.mark.parametrize(
    ("name", "shape", "num_devices"),
    [("v5e-1", (1, 1), 1), ("v5e-16", (4, 4), 16), ("v5e-256", (16, 16), 256),
     ("v6e-8", (2, 4), 8), ("v5p-8", (2, 2, 1), 4), ("v5p-512", (4, 8, 8), 256)],
)  # fmt: skip
def test_a_name_is_a_shape(name, shape, num_devices):
    where = find_slice(name)
    assert where.shape == shape and where.num_devices == num_devices


@pytest.mark.parametrize("name", ["v5e-3", "v9-16", "v5e", "v5p-2048000"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"^topology: got '{name}', allowed are names such as"):
        find_slice(name)
