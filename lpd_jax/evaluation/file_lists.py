"""Which files lie below a folder, and what tells them from others of the same names."""

import hashlib
from collections.abc import Iterable
from typing import Any

from lpd_jax.runtime.buckets import is_bucket


def local_files(folder: Any) -> list[str]:
    return [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]


def digest_of_files(folder: Any, names: Iterable[str], listed: Any) -> str:
    """Tells files from others of the same names, such as pictures that were drawn anew.

    Args:
        folder: local or of a bucket.
        names: paths below it.
        listed: what `files_below` says of a bucket's.
    """
    digest = hashlib.sha256()
    for name in names:
        if is_bucket(folder):
            about = f"{listed[name]['size']}"
        else:  # the time tells those of one size apart
            status = (folder / name).stat()
            about = f"{status.st_size} {status.st_mtime_ns}"
        digest.update(f"{name} {about}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
