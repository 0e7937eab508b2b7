"""Output that appears whole or not at all: written under a temporary name, then renamed."""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from lpd_jax.runtime import buckets
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.disk_faults import writing
from lpd_jax.runtime.errors import UserError, shown_path

LONGEST_KEPT = 200  # bytes of a name that a temporary one repeats


def check_output_file(name: str, path: str | PathLike, suffixes: tuple[str, ...] = ()) -> Any:
    """The path of an output file, checked before the work that fills it; of a bucket, an `epath`.

    Raises:
        UserError: names the option `name` where the folder is missing or not writable, the path
            is a folder itself, its ending is none of `suffixes`, or its bucket cannot be reached.
    """
    file = buckets.located(name, path)
    if suffixes and file.suffix.lower() not in suffixes:
        allowed = " or ".join(suffixes)
        raise UserError(f"{name}: got {shown_path(file)}, allowed are names ending in {allowed}")
    if buckets.is_bucket(file):  # where folders come with the files in them
        return file
    if file.is_block_device() or file.is_socket():
        raise UserError(
            f"{name}: got {shown_path(file)}, a device or socket; allowed is a file name"
        )
    if _takes_bytes(file):
        return file
    folder = Path(os.path.realpath(file)).parent  # of what a link leads to, which is replaced
    for parent in (file.parent, folder):
        if not parent.is_dir():
            raise UserError(
                f"{name}: got {shown_path(file)}, but the folder {parent} does not exist; "
                f"`mkdir -p {shlex.quote(str(parent))}` makes it"
            )
    longest = os.pathconf(file.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if len(os.fsencode(file.name)) > longest:
        raise UserError(
            f"{name}: got {shown_path(file)}, allowed are names of at most {longest} bytes"
        )
    if file.is_dir():
        raise UserError(
            f"{name}: got {shown_path(file)}, which is a folder; allowed is a file name"
        )
    if not os.access(folder, os.W_OK):
        raise UserError(f"{name}: got {shown_path(file)}, but {folder} cannot be written to")
    return file


def real_path(path: str | PathLike) -> str:
    """What names a file whatever it is called: two paths of one file have one, through links."""
    return str(path) if buckets.is_bucket(path) else os.path.realpath(path)


def check_output_folder(name: str, path: str | PathLike) -> Any:
    """The path of a folder for outputs, which need not be there yet, before the work.

    Raises:
        UserError: names the option `name` where it is a file, or cannot be made or written to.
    """
    folder = buckets.located(name, path)
    if buckets.is_bucket(folder):
        return folder
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        what = "a file" if nearest.exists() else "a link to nothing"
        raise UserError(f"{name}: got {shown_path(folder)}, but {nearest} is {what}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{name}: got {shown_path(folder)}, but {nearest} cannot be written to")
    return folder


@contextlib.contextmanager
def replacing_file(path: str | PathLike, what: str = "the file") -> Iterator[Path]:
    """Gives a temporary path beside `path`; renamed to `path` on success, removed on an error.

    Where `path` is a link, what it points to is replaced, by a file of the same permissions. Of a
    bucket, a pipe or a device such as /dev/stdout, the temporary path is one of this machine's
    temporary folders, copied on success.

    Args:
        what: is written, for the error.

    Raises:
        DiskError: the disk is full, read-only or gone.
    """
    if buckets.is_bucket(path):
        target = buckets.reachable("output", path)
        with tempfile.TemporaryDirectory(prefix="lpd_jax_") as folder:
            yield Path(folder) / target.name
            buckets.copy_file(Path(folder) / target.name, target)
        return
    if _takes_bytes(Path(path)):
        with tempfile.TemporaryDirectory(prefix="lpd_jax_") as folder:
            yield (temporary := Path(folder) / Path(path).name)
            with writing(what, path), open(path, "wb") as end, temporary.open("rb") as file:
                shutil.copyfileobj(file, end)
        return
    path = Path(os.path.realpath(path))
    temporary = _beside(path, "writing")
    try:
        with writing(what, path):
            yield temporary
            _keep_rights(path, temporary)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # on a disk that is gone
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_directory(path: str | PathLike, what: str = "the folder") -> Iterator[Path]:
    """Gives a new folder that takes the place of `path` on success, and goes on an error.

    Where `path` is a link, what it points to is replaced. A mount point cannot be renamed, and of
    the folder in which we stand (".") a shell would be left in one that is gone: there the files
    are replaced one by one, each whole or not at all.

    Args:
        what: is written, for the error.

    Raises:
        DiskError: the disk is full, read-only or gone.
        UserError: a folder of a bucket, which nothing renames.
    """
    path = Path(os.path.realpath(as_path("output", path)))
    replacing = _in_place if os.path.ismount(path) or _is_current(path) else _renamed
    with writing(what, path), replacing(path) as temporary:
        yield temporary


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, previous = _beside(path, "writing"), _beside(path, "previous")
    _make_anew(temporary)
    try:
        yield temporary
        if path.exists():  # a folder that is not empty cannot be renamed over
            shutil.rmtree(previous, ignore_errors=True)
            _keep_rights(path, temporary)
            path.rename(previous)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if path.exists():
            shutil.rmtree(previous, ignore_errors=True)


@contextlib.contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    temporary = _beside(path / path.name, "writing")
    _make_anew(temporary)
    try:
        yield temporary
        new = {file.name for file in temporary.iterdir()}
        for old in path.iterdir():
            if old.is_dir() and not old.is_symlink() and old != temporary:
                shutil.rmtree(old)
            elif old != temporary and old.name not in new:
                old.unlink()
        for file in temporary.iterdir():
            os.replace(file, path / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _takes_bytes(path: Path) -> bool:
    """Whether it is a pipe or a device: what reads there would wait for ever, were it replaced."""
    return path.is_fifo() or path.is_char_device()


def _keep_rights(path: Path, temporary: Path) -> None:
    """Gives what replaces `path` its permissions and its group; a new file has the umask's."""
    try:
        there = path.stat()
    except OSError:  # not there yet
        return
    with contextlib.suppress(OSError):  # a group of others
        if hasattr(os, "chown"):
            os.chown(temporary, -1, there.st_gid)
    with contextlib.suppress(OSError):  # a file system without permissions
        temporary.chmod(stat.S_IMODE(there.st_mode))


def _is_current(path: Path) -> bool:
    try:
        return os.path.samefile(path, os.curdir)
    except OSError:  # not there yet, or the current folder is gone
        return False


def _make_anew(temporary: Path) -> None:
    # A container gives its processes the same numbers again: a killed one may have left it.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()


def path_within(path: str | PathLike, folder: str | PathLike) -> str | None:
    """Where below a folder a path lies, "." for the folder itself; None: outside of it.

    By their real paths, with "/" between the parts; neither has to be there.
    """
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    return real.relative_to(root).as_posix() if real.is_relative_to(root) else None


def remove_leftovers(path: str | PathLike) -> None:
    """Removes what killed processes left of `replacing_file(path)`."""
    path = Path(path)
    for leftover in path.parent.glob(f".{_short_name(path)}.*"):
        leftover.unlink()


def _beside(path: Path, purpose: str) -> Path:
    # Same folder, so the rename stays inside one file system.
    # Threads that write one file have names of their own; of the main one it is the process's.
    # Containers give their processes the same numbers, and may write to one disk.
    writer = "-".join(map(str, dict.fromkeys((os.getpid(), threading.get_native_id()))))
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
    return path.with_name(f".{_short_name(path)}.{purpose}-{writer}-{machine}")


def _short_name(path: Path) -> str:
    # A name may have 255 bytes, and a temporary one is never longer.
    name = os.fsencode(path.name)
    return path.name if len(name) <= LONGEST_KEPT else hashlib.sha256(name).hexdigest()[:32]
