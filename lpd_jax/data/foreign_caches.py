"""Token caches that other code bases wrote: where each image's tokens are, and what they hold.

LPD: CLASS/NAME.npz with `indices` and `indices_flip`. LlamaGen and PAR: imagenetS_codes/I.npy
`[1, V, N]` and imagenetS_labels/I.npy. RandAR: CLASS/I.npy `[V, N]`, in a folder or a .tar.
"""

import io
import os
import pathlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lpd_jax.data.folder_walk import class_name, folder_names, is_hidden, walk_classes
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.errors import UserError, printable, shown_path
from lpd_jax.runtime.foreign_files import what_instead

SUFFIXES = (".npz", ".npy")
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation")}
ALLOWED = (
    "allowed are CLASS/NAME.npz (LPD), NAME_codes/I.npy beside NAME_labels/I.npy (LlamaGen, PAR), "
    "CLASS/I.npy or an unpacked .tar of them (RandAR)"
)


# What reading a damaged file raises, one whose header lies about its sizes among them.
DAMAGE = (
    *(ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, OverflowError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


class ForeignCache(NamedTuple):
    """The images of one cache, in an order that does not depend on the disk."""

    path: str
    names: Sequence[str]
    read: Callable[[str], bytes]  # the file of a name
    label: Callable[[str], int]
    class_names: tuple[str, ...]  # none where folders are called by their labels

    def tokens(self, name: str) -> np.ndarray:
        """int64 `[V, N]` of one image: V views of N tokens, or of one view any shape."""
        try:
            stored = self.read(name)
            if reason := what_instead(stored):
                raise ValueError(reason)
            content = np.load(io.BytesIO(stored), allow_pickle=False)
            if isinstance(content, np.ndarray):
                array_VN = content[0] if content.ndim == 3 and len(content) == 1 else content
            else:
                views = [key for key in ("indices", "indices_flip") if key in content]
                array_VN = np.stack([content[key].reshape(-1) for key in views])
        except DAMAGE as error:
            raise UserError(
                f"from: {printable(self.path)}: {printable(name)} is missing or damaged "
                f"({error}); fetch it again"
            ) from None
        if array_VN.dtype.kind not in "iu" or array_VN.ndim not in (1, 2):
            raise UserError(
                f"from: {printable(self.path)}: {printable(name)} holds {array_VN.dtype} of shape "
                f"{array_VN.shape}, allowed are whole numbers [views, tokens]"
            )
        return np.atleast_2d(array_VN).astype(np.int64)


def open_foreign_cache(path: str, split: str) -> ForeignCache:
    """A cache of another code base, recognised by its files.

    Args:
        path: a folder or a .tar file.
        split: "train" or "validation": which part of a cache with a folder for each.

    Raises:
        UserError: no such cache.
    """
    place = as_path("from", path)
    if place.is_dir():
        numbered = open_numbered(path, place)
        if numbered is not None:
            return numbered
        walk = walk_classes(place, folder_names(place), SUFFIXES)
        names = [x.replace(os.sep, "/") for found in walk.files.values() for x in found]
        return open_classes(path, names, lambda name: (place / name).read_bytes(), split)
    if not place.is_file():
        raise UserError(f"from: got {shown_path(path)}, which is not there; {ALLOWED}")
    try:
        if reason := what_instead(place):
            raise OSError(reason)
        with tarfile.open(place, "r:") as tar:
            spans = {file.name: (file.offset_data, file.size) for file in tar if file.isfile()}
    except (tarfile.TarError, OSError) as error:
        problem = f"which is no plain .tar ({error})"
        raise UserError(f"from: got {shown_path(path)}, {problem}; {ALLOWED}") from None

    def read(name: str) -> bytes:
        with open(place, "rb") as file:
            file.seek(spans[name][0])
            return file.read(spans[name][1])

    return open_classes(path, list(spans), read, split)


def open_numbered(path: str, folder: pathlib.Path) -> ForeignCache | None:
    """LlamaGen's and PAR's folders of codes and labels; None where there are none."""
    found = [folder / name for name in folder_names(folder) if name.endswith("_codes")]
    codes = [x for x in found if next(x.glob("*.npy"), None)]
    if not codes:
        return None
    if len(codes) > 1:
        listed = ", ".join(printable(x.name) for x in codes)
        raise UserError(
            f"from: got {shown_path(path)}, which holds {listed}; allowed is one folder of codes"
        )
    labels = folder / (codes[0].name.removesuffix("_codes") + "_labels")
    if not labels.is_dir():
        raise UserError(f"from: got {shown_path(path)}, which has no {labels.name}; {ALLOWED}")
    stems = [x.stem for x in codes[0].glob("*.npy") if re.fullmatch("[0-9]+", x.stem)]
    if not stems:
        raise UserError(
            f"from: got {shown_path(path)}, which has no I.npy in {codes[0].name}; {ALLOWED}"
        )

    def label(name: str) -> int:
        try:
            return int(np.load(labels / name, allow_pickle=False).reshape(()))
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"from: {path}: label {labels.name}/{name} is missing or damaged ({error})"
            ) from None

    names = [f"{stem}.npy" for stem in sorted(stems, key=int)]
    return ForeignCache(path, names, lambda name: (codes[0] / name).read_bytes(), label, ())


def open_classes(
    path: str, files: Sequence[str], read: Callable[[str], bytes], split: str
) -> ForeignCache:
    """LPD's and RandAR's folders of classes: called by label, or else numbered as they sort."""
    names = [x for x in files if x.endswith(SUFFIXES) and "/" in x and not is_hidden(x)]
    roots = sorted({x.rsplit("/", 2)[0] if x.count("/") > 1 else "" for x in names})
    if len(roots) > 1:  # a folder for each split
        roots = [root for root in roots if root.rsplit("/", 1)[-1] in SPLIT_FOLDERS[split]]
    if len(roots) != 1:
        raise UserError(
            f"from: got {shown_path(path)}, where no {split} tokens are found; {ALLOWED}"
        )
    prefix = f"{roots[0]}/" if roots[0] else ""
    names = [x for x in names if x.startswith(prefix) and x.count("/") == prefix.count("/") + 1]
    folders = sorted({class_of(name) for name in names})
    called_by_label = all(re.fullmatch("[0-9]+", folder) for folder in folders)
    labels = {x: int(x) if called_by_label else i for i, x in enumerate(folders)}
    class_names = () if called_by_label else tuple(map(class_name, folders))
    return ForeignCache(path, sorted(names), read, lambda name: labels[class_of(name)], class_names)


def class_of(name: str) -> str:
    return name.rsplit("/", 2)[-2]
