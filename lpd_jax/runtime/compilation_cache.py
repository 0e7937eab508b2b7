"""The user's cache folder, and compiled programs that outlive the process in it."""

import os
from pathlib import Path
from typing import Any


def default_cache_dir() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/lpd_jax, or ~/.cache/lpd_jax."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "lpd_jax"


def keep_compiled_programs() -> None:
    """Lets JAX look up what another process compiled, unless the user chose a place or none.

    JAX's own variables say so: JAX_COMPILATION_CACHE_DIR, JAX_ENABLE_COMPILATION_CACHE=false.
    Where the folder cannot be made there is no cache: nothing but time depends on it.
    """
    import jax

    config: Any = jax.config  # its type does not tell of options
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    folder = default_cache_dir() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        config.update("jax_compilation_cache_dir", str(folder))
