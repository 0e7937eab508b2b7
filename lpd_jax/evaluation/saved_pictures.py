"""Keeps the pictures of an evaluation: a PNG file each, or ADM's one array.

Letters: B pictures, H height, W width.
"""

import math
import shutil
import zipfile
from types import TracebackType
from typing import Any

import jax
import numpy as np
from numpy.lib import format as npy

from lpd_jax.evaluation.picture_sets import PictureSet
from lpd_jax.evaluation.shards import Shards, wait_for_all
from lpd_jax.images import save_png
from lpd_jax.runtime.arguments import check_choice
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import is_bucket, read_bytes
from lpd_jax.runtime.errors import UserError, shown_path

KINDS = ("", "png", "npz")
PICTURES_FOLDER, ARRAY_FILE = "pictures", "pictures.npz"


class Saver:
    """Keeps nothing."""

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, error, traceback

    def has(self, rows: range) -> bool:
        """Whether these pictures are kept already."""
        del rows
        return True

    def watch(self, first: int, images_BHWC: np.ndarray) -> None:
        """Takes pictures first, first + 1, ..., uint8 `[B, H, W, 3]`."""


class PngSaver(Saver):
    """FOLDER/pictures/000000.png, 000001.png, ..."""

    def __init__(self, folder: Any):
        self.folder = folder / PICTURES_FOLDER
        if not is_bucket(folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def file(self, row: int) -> Any:
        return self.folder / f"{row:06d}.png"

    def has(self, rows: range) -> bool:
        return all(self.file(row).is_file() for row in rows)

    def watch(self, first: int, images_BHWC: np.ndarray) -> None:
        for row, image_HWC in enumerate(images_BHWC, first):
            save_png(self.file(row), image_HWC)


class ArraySaver(Saver):
    """FOLDER/pictures.npz with `arr_0` and, where classes are known, `arr_1`; clips likewise.

    Pixels lie beside the features until all are there, and are then put into one file.
    """

    def __init__(self, folder: Any, shards: Shards, pictures: PictureSet):
        if is_bucket(folder):
            raise UserError(
                f"save: got 'npz' and output {shown_path(folder)}, allowed in a bucket is png"
            )
        self.target, self.shards, self.pictures = folder / ARRAY_FILE, shards, pictures
        self.folder = folder / "pixels"
        if not self.target.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)

    def file(self, first: int) -> Any:
        return self.folder / f"{first:08d}.bin"

    def has(self, rows: range) -> bool:
        if self.target.is_file():
            return True
        found = sum(file.stat().st_size for file in self.files(rows))
        return found == len(rows) * math.prod(self.pictures.size) * 3

    def files(self, rows: range) -> list[Any]:
        """Those of these pictures, in order."""
        named = ((int(file.stem), file) for file in sorted(self.folder.glob("*.bin")))
        return [file for first, file in named if first in rows]

    def watch(self, first: int, images_BHWC: np.ndarray) -> None:
        # What a killed run left, which may have drawn other numbers at a time.
        for stale in self.files(range(first, first + len(images_BHWC))):
            stale.unlink()
        with replacing_file(self.file(first), "pictures") as temporary:
            temporary.write_bytes(np.ascontiguousarray(images_BHWC).tobytes())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None or self.target.is_file():
            return
        wait_for_all("pixels")
        if jax.process_index() == 0:
            self.join()

    def join(self) -> None:
        shape = (self.pictures.count, *self.pictures.size, 3)
        labels_B = self.pictures.labels
        with (
            replacing_file(self.target, "the pictures") as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
        ):
            if labels_B is not None:
                with archive.open("arr_1.npy", "w") as file:
                    npy.write_array(file, labels_B.astype(np.int64))
            with archive.open("arr_0.npy", "w", force_zip64=True) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(file, header)
                for part in self.files(range(self.pictures.count)):
                    file.write(read_bytes(part))
        shutil.rmtree(self.folder)


def open_saver(kind: str, folder: Any, shards: Shards, pictures: PictureSet) -> Saver:
    """What keeps pictures, by the name of a kind of file; "" keeps none.

    Raises:
        UserError: no such kind, or one that does not hold clips.
    """
    check_choice("save", kind, KINDS)
    if kind == "png" and len(pictures.size) > 2:
        raise UserError("save: got 'png', allowed for clips is npz")
    if kind == "png":
        return PngSaver(folder)
    return ArraySaver(folder, shards, pictures) if kind else Saver()
