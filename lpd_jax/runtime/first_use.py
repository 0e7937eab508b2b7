"""Names of a package that are loaded when they are first asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(package: str, homes: Mapping[str, str], extra: str = "") -> Callable[[str], Any]:
    """A `__getattr__` for a package: importing it does not wait for what its modules import.

    Args:
        package: its `__name__`.
        homes: the module of each name, relative to the package.
        extra: of lpd_jax, which brings what they import; an ImportError names it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{package}.{homes[name]}")
        except ModuleNotFoundError as error:
            if not extra or (error.name or "lpd_jax").startswith("lpd_jax"):
                raise
            raise ModuleNotFoundError(
                f"{package}.{name}: {error.name} is missing; `pip install 'lpd_jax[{extra}]'` "
                "brings it",
                name=error.name,
            ) from None
        return getattr(module, name)

    return load
