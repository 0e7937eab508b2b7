"""The user's cache folder, and compiled programs that outlive the process in it."""

import os
from pathlib import Path
from typing import Any


def default_cache_dir() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/lpd_jax, or ~/.cache/lpd_jax."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "lpd_jax"


def enable_compilation_cache(directory: str | os.PathLike | None = None) -> str | None:
    """Lets JAX look up what another process compiled: the second start draws in no time.

    Every launch script calls it. A program that imports lpd_jax calls it itself, since the setting
    is JAX's: it holds for all that the process compiles.

    Args:
        directory: a folder, or one of a bucket (`gs://...`, with JAX's own requirements); None is
            the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another or
            JAX_ENABLE_COMPILATION_CACHE=false wants none.

    Returns:
        The folder that is used, or None: where it cannot be written to there is no cache, for
        nothing but time depends on it.
    """
    import jax

    config: Any = jax.config  # its type does not tell of options
    if directory is None and not config.jax_enable_compilation_cache:
        return None
    if directory is None and config.jax_compilation_cache_dir:
        return config.jax_compilation_cache_dir
    folder = str(default_cache_dir() / "compiled" if directory is None else directory)
    if "://" not in folder:
        folder = str(Path(folder).expanduser().absolute())
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            return None
        if not os.access(folder, os.W_OK):
            return None
    config.update("jax_enable_compilation_cache", True)
    config.update("jax_compilation_cache_dir", folder)
    return folder
