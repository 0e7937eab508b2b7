"""Official PyTorch weights, read without PyTorch; one room a family says what its names are."""

from lpd_jax.weights.from_torch.conversion import (
    convert_file,
    directory_config,
    from_torch,
    to_torch_names,
)

__all__ = ["convert_file", "directory_config", "from_torch", "to_torch_names"]
