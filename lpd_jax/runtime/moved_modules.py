"""Modules by their former names: they import, and warn of where they are now."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any

MOVED = {
    "lpd_jax.checkpoint": "lpd_jax.weights.checkpoint",
    "lpd_jax.model_directory": "lpd_jax.weights.model_directory",
    "lpd_jax.pretrained": "lpd_jax.weights.hub",
    "lpd_jax.request": "lpd_jax.generation.request",
    "lpd_jax.editing": "lpd_jax.generation.inpaint",
    "lpd_jax.outpainting": "lpd_jax.generation.outpaint",
    "lpd_jax.masks": "lpd_jax.generation.masks",
    "lpd_jax.sharding": "lpd_jax.runtime.mesh",
    "lpd_jax.decoding.decode": "lpd_jax.decoding.scan",
    "lpd_jax.models.convert": "lpd_jax.weights.from_torch",
    "lpd_jax.models.generate": "lpd_jax.generation.generate",
    "lpd_jax.models.registry": "lpd_jax.models.family",
    "lpd_jax.models.tokenizer": "lpd_jax.models.vq_tokenizer",
    "lpd_jax.models.torch_files": "lpd_jax.weights.from_torch.torch_files",
    "lpd_jax.training.data": "lpd_jax.data.batches",
    "lpd_jax.training.sources": "lpd_jax.data.pictures",
    "lpd_jax.training.token_cache": "lpd_jax.data.token_cache",
}


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a moved module by its old name; attributes are looked up where it is now."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        text = f"{name} is now {MOVED[name]}; import it from there"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        now = importlib.import_module(MOVED[name])

        def look_up(attribute: str) -> Any:
            return getattr(now, attribute)

        module.__getattr__ = look_up  # type: ignore[method-assign]


def find_moved_modules() -> None:
    """Lets `import` find them; last of all, so that nothing else becomes slower."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
