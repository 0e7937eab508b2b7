"""A checkpoint that cannot be written: one error, nothing of it left, no thread that prints.

Orbax writes in threads of its own. Each that fails logs a traceback, those beside it go on, and
what they wrote stays under a temporary name.
"""

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from lpd_jax.runtime.buckets import is_bucket
from lpd_jax.runtime.disk_faults import DiskError, disk_error, free_bytes, writing
from lpd_jax.runtime.event_loops import tasks_end_before_errors
from lpd_jax.runtime.mesh import first_process_says

UNFINISHED = "*.orbax-checkpoint-tmp*"
# What Orbax notes beside the values, measured on toys; file systems round its 25 files up.
BYTES_PER_ARRAY = 2_000
BYTES_PER_CHECKPOINT = 100_000
ORBAX_FOLDER = os.path.dirname(ocp.__file__)


def checkpoint_bytes(state: Any) -> int:
    """What the checkpoint of a state takes at most, from its shapes alone."""
    leaves = jax.tree.leaves(state)
    values = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    return values + BYTES_PER_ARRAY * len(leaves) + BYTES_PER_CHECKPOINT


def check_two_fit(folder: epath.Path, state: Any) -> int:
    """Raises DiskError where a folder has no room for two checkpoints of a state.

    One is written beside the one before it. Those that are there count.

    Args:
        state: tree of arrays, or of their shapes and dtypes.

    Returns:
        The bytes of one.
    """
    one = checkpoint_bytes(state)
    there = sum(path.name.isdecimal() for path in folder.iterdir()) if folder.is_dir() else 0
    missing = max(2 - there, 0)
    if not has_room(folder, missing * one):
        what = "two checkpoints" if missing == 2 else "the next checkpoint"
        raise disk_error(what, folder, errno.ENOSPC, missing * one)
    return one


def make_room(
    folder: epath.Path,
    what: str,
    needed: int,
    replaced: Sequence[int],
    delete: Callable[[int], Any],
) -> None:
    """Removes checkpoints before the next is written, not after it, where it does not fit.

    Args:
        replaced: steps of those that it would replace, oldest first.

    Raises:
        DiskError: it does not fit even then.
    """
    going = list(replaced)
    while not has_room(folder, needed):
        if not going:
            raise disk_error(what, folder, errno.ENOSPC, needed)
        with writing(what, folder):
            delete(going.pop(0))


def has_room(folder: str | os.PathLike, needed: int) -> bool:
    """Whether `needed` bytes fit on the disk of a folder; all processes hear the same."""
    free = free_bytes(folder)
    return first_process_says(free is None or free >= needed)


class Place:
    """The folder that a run found when it started: a mount that went away leaves another there."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.known = None if is_bucket(folder) else os.stat(folder)

    def check(self, what: str) -> None:
        """Raises DiskError where the folder is gone, or another one."""
        if self.known is None:
            return
        try:
            same = os.path.samestat(self.known, os.stat(self.folder))
        except OSError as error:
            raise disk_error(what, self.folder, error.errno or errno.EIO) from error
        if not same:
            raise DiskError(f"{self.folder}: {what} could not be written (another disk is there)")


@contextlib.contextmanager
def quiet_threads() -> Iterator[None]:
    """Inside, threads of Orbax that fail wait for those beside them, and print nothing.

    Their errors are raised where the checkpoint is waited for.
    """
    # One filter each, so that one who leaves takes none but its own.
    quiet = logging.Filter()
    quiet.filter = lambda record: not record.pathname.startswith(ORBAX_FOLDER)  # type: ignore[method-assign]
    logger = logging.getLogger("absl")
    logger.addFilter(quiet)
    try:
        with tasks_end_before_errors():
            yield
    finally:
        logger.removeFilter(quiet)


@contextlib.contextmanager
def whole_or_not_there(folder: epath.Path, step: int) -> Iterator[None]:
    """Inside, the checkpoint of a step is written; where that fails, nothing of it is left."""
    try:
        with writing(f"the checkpoint of step {step}", folder / str(step)):
            yield
    except Exception:
        end_threads()
        if jax.process_index() == 0:
            remove_unfinished(folder)
        raise


def saving_threads() -> list[threading.Thread]:
    """Those in which Orbax writes now."""
    return [
        thread
        for thread in threading.enumerate()
        if type(thread).__module__.startswith("orbax") or thread.name == "async_save"
    ]


def end_threads() -> None:
    """Waits for all threads in which Orbax writes."""
    for thread in saving_threads():
        with contextlib.suppress(BaseException):  # its own error, raised again
            thread.join()


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Removes what saves that failed, or were killed, left in a folder of this machine."""
    if is_bucket(folder):
        return
    for leftover in pathlib.Path(folder).glob(UNFINISHED):
        shutil.rmtree(leftover, ignore_errors=True)
