"""What is read of a bucket again and again, kept on this machine: in the user's cache folder."""

import hashlib
import logging
import pathlib
from typing import Any

from etils import epath

from lpd_jax.runtime import buckets
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.compilation_cache import default_cache_dir
from lpd_jax.runtime.locks import in_turn

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # heard where others are told to report errors only

# What packages tell of a file: another content has another of them.
STAMPS = ("size", "generation", "ETag", "etag", "mtime", "LastModified")


def kept_here(folder: epath.Path) -> pathlib.Path:
    """A local copy of a bucket's folder, whose files are fetched where they are not here yet.

    The copy goes by what the bucket says of the files: where they change there, it is another. It
    stays when the process ends. Of the processes of a machine one fetches, the others wait for it.
    """
    files = buckets.files_below(folder)
    made_of = [str(folder), *(f"{name} {stamp(about)}" for name, about in files.items())]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    local = default_cache_dir() / "buckets" / f"{folder.name}_{digest}"
    with in_turn(local / ".lock"):
        missing = [name for name in files if not (local / name).is_file()]
        if missing:
            size = sum(files[name]["size"] for name in missing) / 2**20
            logger.warning("%s: %.1f MiB are fetched, and kept in %s", folder, size, local)
        for name in missing:
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(local / name) as temporary:
                buckets.copy_file(folder / name, temporary)
    return local


def stamp(about: dict[str, Any]) -> str:
    """Changes when a file in a bucket does."""
    return " ".join(str(about.get(field)) for field in STAMPS)
