"""Where a token cache is written: to a folder of this machine, or by way of one to a bucket."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from lpd_jax.data.token_cache import INDEX_FILE, SETTINGS_FILE
from lpd_jax.data.token_writer import Exchange, check_no_other_files
from lpd_jax.runtime.bucket_mirror import Mirror
from lpd_jax.runtime.buckets import is_bucket, named_as
from lpd_jax.runtime.leases import LEASE_FILE

JSON_FILES, ALL_FILES = ("*.json",), ("*.json", "tokens-*")


@contextlib.contextmanager
def local_cache(folder: Any) -> Iterator[tuple[pathlib.Path, Exchange | None]]:
    """Gives the folder to write to, and what brings its files to the bucket, if it is in one.

    Args:
        folder: of `pathlib`, or of a bucket's `epath`.

    Raises:
        UserError: the bucket's folder holds other files, or another process writes to it.
    """
    if not is_bucket(folder):
        yield folder, None
        return
    if not (folder / SETTINGS_FILE).is_file():
        names = [x.name for x in folder.iterdir()] if folder.is_dir() else []
        check_no_other_files(folder, [name for name in names if name != LEASE_FILE])
    is_finished = (folder / INDEX_FILE).is_file()
    with contextlib.ExitStack() as stack:
        mirror = Mirror(folder, JSON_FILES if is_finished else ALL_FILES)
        stack.callback(mirror.temporary.cleanup)
        if jax.process_index() == 0 and not is_finished:
            stack.enter_context(mirror.sole_writer("output"))
        stack.callback(mirror.push)
        with named_as(mirror.local, folder):
            yield mirror.local, mirror
