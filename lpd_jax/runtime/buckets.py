"""Folders that may lie in a bucket: `gs://...` and `s3://...` are read like this machine's own.

What cannot take a bucket enters by `as_path`, which says so.
"""

import contextlib
import glob
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

from etils import epath
from etils.epath import backend, gpath

from lpd_jax.runtime.arguments import as_path, is_bucket
from lpd_jax.runtime.errors import UserError, shown_path

# The package that reaches the buckets of a scheme.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}


class LocalPath(gpath.PosixGPath):
    """A path of this machine whose own name is no pattern, in what Orbax makes of it, too.

    Brackets in the name of a folder, "run [1]", hid from Orbax what it had written there.
    """

    def glob(self, pattern: str) -> Iterator["LocalPath"]:
        yield from map(self._new, glob.glob(os.path.join(glob.escape(str(self)), pattern)))


def absolute(folder: str | PathLike) -> epath.Path:
    """A local folder from the root on, or that of a bucket as it is."""
    if is_bucket(folder):
        return epath.Path(folder)
    return LocalPath(LocalPath(folder).expanduser().absolute())


def located(field: str, path: str | PathLike, allowed: str = "a path") -> Any:
    """A path of this machine (`pathlib`), ~ filled in, or of a bucket that is reached (`epath`).

    Args:
        allowed: what errors say of what is no path.

    Raises:
        UserError: see `reachable` and `as_path`.
    """
    return reachable(field, path) if is_bucket(path) else as_path(field, path, allowed)


def reachable(field: str, folder: str | PathLike) -> epath.Path:
    """The folder, absolute; it need not be there.

    Args:
        field: what holds the folder, for errors.

    Raises:
        UserError: a bucket of a kind that is not known, whose package is not installed, or that
            cannot be reached.
    """
    if not is_bucket(folder):
        return absolute(folder)
    scheme = str(folder).split(":")[0]
    if scheme not in PACKAGES or not re.match(rf"{scheme}://[^/]", str(folder)):
        known = ", ".join(f"{name}://BUCKET/..." for name in PACKAGES)
        raise UserError(
            f"{field}: got {shown_path(folder)}, allowed are folders of this machine and of "
            f"buckets: {known}"
        )
    path = absolute(folder)
    try:
        file_system(path).exists(str(path))
    except ImportError:  # epath's text speaks of another scheme and package
        raise UserError(
            f"{field}: got {shown_path(folder)}, but {PACKAGES[scheme]} is missing; allowed is a "
            "folder of this machine, or that after `pip install 'lpd_jax[buckets]'`"
        ) from None
    # Each package has errors of its own, for keys that are missing or a network that is.
    except Exception as error:  # noqa: BLE001
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{field}: got {shown_path(folder)}, which cannot be reached: {problem}"
        ) from None
    return path


def file_system(path: epath.Path) -> Any:
    """fsspec's, of a bucket; ImportError where its package is not installed."""
    return backend.fsspec_backend.fs(path)


def forget_listings(folder: epath.Path) -> None:
    """Lists anew from now on: packages remember, and miss what another process has written."""
    file_system(folder).invalidate_cache()


def subfolders(folder: epath.Path) -> list[str]:
    """Names of the folders in a bucket's folder; none where there is no such folder."""
    forget_listings(folder)
    try:
        entries = file_system(folder).ls(str(folder), detail=True)
    except FileNotFoundError:
        return []
    found = (x["name"].strip("/") for x in entries if x["type"] == "directory")
    return sorted(name.rsplit("/", 1)[-1] for name in found if name != without_scheme(folder))


def read_bytes(file: epath.Path | pathlib.Path) -> bytes:
    """What a file holds; of a bucket by one request."""
    return file_system(file).cat_file(str(file)) if is_bucket(file) else file.read_bytes()


def files_below(folder: epath.Path) -> dict[str, Any]:
    """Path below a bucket's folder -> what the bucket says of the file, in order of the paths.

    By one listing, whatever folders there are.
    """
    forget_listings(folder)
    found = file_system(folder).find(str(folder), detail=True)
    below = [key.strip("/") for key in found]
    root = f"{without_scheme(folder)}/"
    files = {name.removeprefix(root): found[key] for name, key in zip(below, found, strict=True)}
    # Consoles make an empty object for a folder.
    folders = {str(pathlib.PurePosixPath(name).parent) for name in files}
    return {name: files[name] for name in sorted(files) if name not in folders}


def without_scheme(path: epath.Path) -> str:
    return str(path).split("://", 1)[1].strip("/")


def delete_folder(folder: epath.Path) -> None:
    """Deletes what is in a bucket's folder, if it is there."""
    forget_listings(folder)
    if file_system(folder).exists(str(folder)):
        file_system(folder).rm(str(folder), recursive=True)


def copy_file(source: epath.Path | pathlib.Path, target: epath.Path | pathlib.Path) -> None:
    """Copies a file from or to a bucket, and makes the folder it goes to.

    In a bucket it appears whole or not at all.
    """
    if is_bucket(target):  # `open` would leave half a file there after Ctrl-C
        file_system(target).put_file(str(source), str(target))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_bucket(source):
        file_system(source).get_file(str(source), str(target))
    else:
        shutil.copyfile(source, target)


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
        with named_as(temporary, folder):
            yield pathlib.Path(temporary)


@contextlib.contextmanager
def named_as(local: str | PathLike, folder: epath.Path) -> Iterator[None]:
    """Errors from inside that name the local folder name that of the bucket in its place."""
    try:
        yield
    except (UserError, FileNotFoundError) as error:
        raise type(error)(str(error).replace(str(local), str(folder))) from None


@contextlib.contextmanager
def local_file(field: str, path: str | PathLike) -> Iterator[pathlib.Path]:
    """A file of this machine, or, of a bucket, a temporary copy; it need not be there."""
    place = located(field, path)
    with local_copy(place.parent, [place.name]) as folder:
        yield folder / place.name
