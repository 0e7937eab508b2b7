"""Parallel autoregressive image generation in JAX."""

from typing import TYPE_CHECKING

from lpd_jax.runtime.first_use import on_first_use
from lpd_jax.runtime.moved_modules import find_moved_modules
from lpd_jax.version import __version__

if TYPE_CHECKING:
    from lpd_jax.models.settings import Generation
    from lpd_jax.pipeline import Pipeline
    from lpd_jax.runtime.compilation_cache import enable_compilation_cache
    from lpd_jax.runtime.errors import UserError
    from lpd_jax.weights.from_torch.conversion import from_torch

__all__ = [
    "Generation",
    "Pipeline",
    "UserError",
    "__version__",
    "enable_compilation_cache",
    "from_torch",
]

find_moved_modules()

# All of them import JAX, and `lpd_jax.__version__` must not wait for it.
__getattr__ = on_first_use(
    __name__,
    {
        "Generation": "models.settings",
        "Pipeline": "pipeline",
        "UserError": "runtime.errors",
        "enable_compilation_cache": "runtime.compilation_cache",
        "from_torch": "weights.from_torch.conversion",
    },
)
