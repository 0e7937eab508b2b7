"""Folders that may lie in a bucket: `gs://...` is read like a folder of this machine."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike

from etils import epath
from etils.epath import backend

from lpd_jax.runtime.errors import UserError, shown_path

# The package that reaches the buckets of a scheme.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
COPIED_BYTES = 2**24  # at a time: weights may be larger than the memory that is free


def is_bucket(path: str | PathLike) -> bool:
    return "://" in str(path)


def absolute(folder: str | PathLike) -> epath.Path:
    """A local folder from the root on, or that of a bucket as it is."""
    path = epath.Path(folder)
    return path if is_bucket(folder) else epath.Path(path.expanduser().absolute())


def reachable(field: str, folder: str | PathLike) -> epath.Path:
    """The folder, absolute; it need not be there.

    Args:
        field: what holds the folder, for errors.

    Raises:
        UserError: a bucket of a kind that is not known, or whose package is not installed.
    """
    scheme = str(folder).split("://")[0] if is_bucket(folder) else None
    if scheme is not None and scheme not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise UserError(
            f"{field}: got {shown_path(folder)}, allowed are folders of this machine and of "
            "buckets: "
            f"{known}"
        )
    path = absolute(folder)
    try:
        path.exists()
    except ImportError as error:
        package = PACKAGES[scheme or "gs"]
        raise UserError(
            f"{field}: got {shown_path(folder)}, but {error}; allowed is a folder of this machine, "
            "or "
            f"that after `pip install {package}`"
        ) from None
    return path


def forget_listings(folder: epath.Path) -> None:
    """Lists anew from now on: packages remember, and miss what another process has written."""
    # Those that are reached by TensorFlow, where it is installed, are listed anew each time.
    with contextlib.suppress(ImportError):
        backend.fsspec_backend.fs(folder).invalidate_cache()


def copy_file(source: epath.Path | pathlib.Path, target: epath.Path | pathlib.Path) -> None:
    """Copies a file between a bucket and this machine, and makes the folder it goes to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, COPIED_BYTES)


@contextlib.contextmanager
def local_copy(folder: epath.Path, names: Sequence[str]) -> Iterator[pathlib.Path]:
    """The folder itself, or, of a bucket, a temporary one with those of `names` that are there.

    Errors from inside name the files of the bucket.
    """
    if not is_bucket(folder):
        yield pathlib.Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="lpd_jax_") as temporary:
        for name in names:
            if (folder / name).exists():
                copy_file(folder / name, pathlib.Path(temporary) / name)
        try:
            yield pathlib.Path(temporary)
        except (UserError, FileNotFoundError) as error:
            raise type(error)(str(error).replace(temporary, str(folder))) from None
