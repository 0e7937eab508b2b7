"""Output that appears whole or not at all: written under a temporary name, then renamed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from lpd_jax.runtime.errors import UserError


def check_output_file(name: str, path: str | PathLike, suffixes: tuple[str, ...] = ()) -> Path:
    """The path of an output file, checked before the work that fills it.

    Raises:
        UserError: names the option `name` where the folder is missing or not writable, the path
            is a folder itself, or its ending is none of `suffixes`.
    """
    path = Path(path).expanduser()
    if suffixes and path.suffix.lower() not in suffixes:
        allowed = " or ".join(suffixes)
        raise UserError(f"{name}: got {str(path)!r}, allowed are names ending in {allowed}")
    if path.is_dir():
        raise UserError(f"{name}: got {str(path)!r}, which is a folder; allowed is a file name")
    if not path.parent.is_dir():
        raise UserError(f"{name}: got {str(path)!r}, but the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{name}: got {str(path)!r}, but {path.parent} cannot be written to")
    return path


@contextlib.contextmanager
def replacing_file(path: str | PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renamed to `path` on success, removed on an error."""
    path = Path(path)
    temporary = _beside(path, "writing")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_directory(path: str | PathLike) -> Iterator[Path]:
    """Gives a new folder beside `path` that takes its place on success, and goes on an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, previous = _beside(path, "writing"), _beside(path, "previous")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():  # a folder that is not empty cannot be renamed over
            path.rename(previous)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(previous, ignore_errors=True)


def _beside(path: Path, purpose: str) -> Path:
    # Same folder, so the rename stays inside one file system.
    return path.with_name(f".{path.name}.{purpose}-{os.getpid()}")
