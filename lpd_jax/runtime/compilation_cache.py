"""The user's cache folder, and compiled programs that outlive the process in it."""

import contextlib
import functools
import glob
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, TextIO

from lpd_jax.runtime.arguments import as_path

# How JAX's own warnings begin; it warns of each program.
CACHE_WARNINGS = (
    "Error writing persistent compilation cache entry",
    "Error reading persistent compilation cache entry",
)

NAME_IN_WARNING = re.compile(r"cache entry for '([^'/]+)'")


def default_cache_dir() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/lpd_jax, or ~/.cache/lpd_jax.

    Of a user without a home, as a container's may be, one among the temporary folders.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "lpd_jax"
    except RuntimeError:
        return temporary_cache_dir()


@functools.cache
def temporary_cache_dir() -> Path:
    """The same for all processes of the user; another's of that name would be no safe place."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"lpd_jax_cache_{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    is_own = folder.is_dir() and folder.lstat().st_uid == user
    return folder if is_own else Path(tempfile.mkdtemp(prefix="lpd_jax_cache_"))


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
        folder = str(as_path("directory", folder).absolute())
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            return None
        if not os.access(folder, os.W_OK):
            return None
    config.update("jax_enable_compilation_cache", True)
    config.update("jax_compilation_cache_dir", folder)
    return folder


def warn_once() -> None:
    """From now on, what JAX says of a cache that it cannot use is one line, and of the first time.

    A program that does not fit leaves a part of its file, which would fail to load ever after: the
    newest file goes. So does a damaged one, as a killed process leaves it: JAX replaces none that
    is there, and would compile that program at each start.
    """
    import jax

    config: Any = jax.config
    folder = Path(config.jax_compilation_cache_dir or default_cache_dir())
    show = warnings.showwarning
    said: list[str] = []

    def show_once(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        if not text.startswith(CACHE_WARNINGS):
            show(message, category, filename, lineno, file, line)
            return
        removed = False
        if text.startswith(CACHE_WARNINGS[0]):
            remove_newest(folder)
        else:
            removed = remove_damaged(folder, text)
        if not said:
            said.append(text)
            reason = text.split("': ", 1)[-1].splitlines()[0]
            program = os.path.basename(sys.argv[0])
            what = (
                f"a compiled program that was kept is damaged ({reason}); compiling it anew"
                if removed
                else f"compiled programs cannot be kept or read ({reason}); going on without"
            )
            print(f"{program}: {folder}: {what}", file=sys.stderr)

    warnings.filterwarnings("always", message="Error (writing|reading) persistent compilation")
    warnings.showwarning = show_once


def remove_newest(folder: Path) -> None:
    with contextlib.suppress(OSError, ValueError):  # gone, or none
        max(folder.glob("*-cache"), key=lambda path: path.stat().st_mtime_ns).unlink(True)


def remove_damaged(folder: Path, text: str) -> bool:
    """Removes what JAX could not read, by the name in its warning; another's that is locked stays.

    The name is a program's, of which several may be kept: those that are whole are made anew.
    """
    found = NAME_IN_WARNING.search(text)
    kept = folder.glob(f"{glob.escape(found[1])}*-cache") if found else ()
    removed = False
    with contextlib.suppress(OSError):  # of another user, or gone
        for path in kept:
            if os.access(path, os.R_OK):
                path.unlink(missing_ok=True)
                removed = True
    return removed
