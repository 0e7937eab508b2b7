"""One writer at a time: locks that die with the process that holds them."""

import contextlib
import errno
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.disk_faults import disk_error, writing
from lpd_jax.runtime.errors import UserError, shown_path

fcntl: Any
try:
    import fcntl
except ImportError:  # no POSIX system: writers must take care themselves
    fcntl = None

LOCK_FILE = ".writer.lock"


@contextlib.contextmanager
def writing_to(name: str, folder: pathlib.Path) -> Iterator[None]:
    """Makes a local folder this process's own to write to; others are refused meanwhile.

    The operating system takes the lock back when the process ends, by `kill -9` too. A folder that
    is made for the lock, and is still empty after it, goes again. On a file system without locks
    there are none.

    Args:
        name: the option that names the folder, for the error.

    Raises:
        UserError: another process, or another part of this one, writes to the folder.
        DiskError: the disk is full.
    """
    as_path(name, folder)
    if fcntl is None:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = acquire(name, folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_error("its first file", folder, error.errno) from error
        raise UserError(
            f"{name}: got {shown_path(folder)}, which cannot be written to ({error.strerror})"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK_FILE).unlink()  # while it is held: no other holds it
        os.close(file)
        with contextlib.suppress(OSError):  # not empty
            for path in made:
                path.rmdir()


def acquire(name: str, folder: pathlib.Path) -> int:
    """The open lock file, locked; it holds this process's number."""
    path = folder / LOCK_FILE
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 300).decode("ascii", "replace") or "another process"
            os.close(file)
            raise UserError(
                f"{name}: got {shown_path(folder)}, which {holder} writes to; allowed is one "
                "writer at a time: wait for it, or end it"
            ) from None
        except OSError:  # a file system without locks
            return file
        # The last holder may have removed the file after it was opened here.
        if path.exists() and os.path.samestat(os.stat(path), os.fstat(file)):
            with contextlib.suppress(OSError):  # a full disk: then others hear no name
                os.ftruncate(file, 0)
                os.pwrite(file, f"process {os.getpid()} of {platform.node()}".encode(), 0)
            return file
        os.close(file)


@contextlib.contextmanager
def in_turn(file: pathlib.Path) -> Iterator[None]:
    """Waits until no other process is inside with this file, which is made and stays.

    On a file system without locks, and a system without them, nobody waits.

    Raises:
        DiskError: the disk is full, read-only or gone.
    """
    with writing("a lock", file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = open(file, "w")  # noqa: SIM115
    with lock:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
