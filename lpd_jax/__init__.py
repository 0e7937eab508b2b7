"""Parallel autoregressive image generation in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from lpd_jax.version import __version__

if TYPE_CHECKING:
    from lpd_jax.pipeline import Pipeline

__all__ = ["Pipeline", "__version__"]


def __getattr__(name: str) -> Any:
    # On first use: the pipeline imports JAX and Flax, `lpd_jax.__version__` must not wait for them.
    if name == "Pipeline":
        return importlib.import_module("lpd_jax.pipeline").Pipeline
    raise AttributeError(f"module 'lpd_jax' has no attribute {name!r}")
