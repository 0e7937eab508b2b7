"""Parallel autoregressive image generation in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from lpd_jax.runtime.moved_modules import find_moved_modules
from lpd_jax.version import __version__

if TYPE_CHECKING:
    from lpd_jax.models.settings import Generation
    from lpd_jax.pipeline import Pipeline
    from lpd_jax.weights.from_torch import from_torch

__all__ = ["Generation", "Pipeline", "__version__", "from_torch"]

# On first use: all of them import JAX and Flax, `lpd_jax.__version__` must not wait for them.
_HOMES = {
    "Generation": "lpd_jax.models.settings",
    "Pipeline": "lpd_jax.pipeline",
    "from_torch": "lpd_jax.weights.from_torch.conversion",
}


find_moved_modules()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lpd_jax' has no attribute {name!r}")
