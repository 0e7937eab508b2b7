"""Where many pictures go as they are drawn: a file each, or ADM's one array.

Letters: B images, H height, W width.
"""

import abc
import contextlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy

from lpd_jax.generation.request import Request, names_of
from lpd_jax.images import save_png
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import is_bucket
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.version import __version__

logger = logging.getLogger(__name__)

TEXT_KEY = "lpd_jax"  # of the text chunk of a PNG


class PictureSink(abc.ABC):
    """Takes pictures in order, batch by batch; whole or not there when it is left."""

    def __enter__(self) -> "PictureSink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, error, traceback

    @abc.abstractmethod
    def add(self, images_BHWC: np.ndarray) -> None:
        """The next pictures, uint8."""


def make_folder(folder: Any) -> None:
    """Raises UserError for one that cannot be made."""
    if is_bucket(folder):  # where folders come with the files in them
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output_dir: got {shown_path(folder)}, which cannot be made ({error.strerror})"
        ) from None


def tell_of_others(folder: Any, count: int, name_of: Callable[[int], str]) -> None:
    """A line on numbered files that an earlier, longer run left and this one does not replace.

    Whoever judges or learns the folder would take them for pictures of this run.

    Args:
        folder: that is written to; of a bucket nobody looks.
        count: files that are written.
        name_of: what the file of a number is called.
    """
    if is_bucket(folder):
        return
    suffix = os.path.splitext(name_of(0))[1]
    numbers = (int(file.stem) for file in folder.glob(f"*{suffix}") if file.stem.isdecimal())
    if others := [number for number in numbers if number >= count]:
        logger.warning(
            "output_dir: %s holds %d files of an earlier run as well, numbered %06d to %06d: they "
            "stay",
            *(shown_path(folder), len(others), min(others), max(others)),
        )


class PictureFolder(PictureSink):
    """000000.png, 000001.png, ...: each says in a text chunk how it was drawn."""

    def __init__(self, folder: Path, request: Request, facts: Mapping[str, Any]):
        """Args:
        folder: made where it is not there; pictures of the same numbers are replaced.
        request: what is drawn.
        facts: see `describe_picture`.

        Raises:
            UserError: a folder that cannot be made or written to.
        """
        self.folder, self.request, self.facts, self.count = folder, request, facts, 0
        make_folder(folder)
        tell_of_others(folder, len(request.labels), self.name_of)

    def add(self, images_BHWC: np.ndarray) -> None:
        for image_HWC in images_BHWC:
            text = describe_picture(self.request, self.count, self.facts)
            save_png(self.folder / self.name_of(self.count), image_HWC, text)
            self.count += 1

    @staticmethod
    def name_of(number: int) -> str:
        """What the file of a picture is called."""
        return f"{number:06d}.png"


class AdmArray(PictureSink):
    """One .npz as ADM's evaluator reads it: `arr_0` uint8 [B, H, W, 3], `arr_1` labels int64 [B].

    Clips likewise, `arr_0` uint8 [B, T, H, W, 3].
    Written as pictures come: 50,000 of them never stand in memory.
    """

    def __init__(self, path: Path, request: Request):
        """Args:
        path: of the file.
        request: what is drawn.
        """
        self.labels_B, self.began = request.labels.astype(np.int64), False
        self.stack = contextlib.ExitStack()
        self.temporary = self.stack.enter_context(replacing_file(path))
        self.archive = self.stack.enter_context(zipfile.ZipFile(self.temporary, "w"))

    def add(self, images_BHWC: np.ndarray) -> None:
        if not self.began:
            # One entry is written at a time: the labels come first.
            with self.archive.open("arr_1.npy", "w") as file:
                npy.write_array(file, self.labels_B)
            self.pictures = self.archive.open("arr_0.npy", "w", force_zip64=True)
            shape = (len(self.labels_B), *images_BHWC.shape[1:])
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(self.pictures, header)
            self.began = True
        self.pictures.write(np.ascontiguousarray(images_BHWC).data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.began:
            self.pictures.close()
        self.stack.__exit__(kind, error, traceback)


def describe_picture(
    request: Request, index: int | None, facts: Mapping[str, Any]
) -> dict[str, str]:
    """What the text chunk of a PNG says, as JSON: all that draws the same picture again.

    Args:
        request: what is drawn.
        index: of the picture; None for all of them in one.
        facts: of the model: "model", "weights" (a digest), "class_names"; of an edit also "edit".
    """
    rows = slice(None) if index is None else slice(index, index + 1)
    labels_B = request.labels[rows]
    said = {
        "version": __version__,
        "model": facts["model"],
        "weights": facts["weights"],
        "seed": request.seed,
        "index": index,
        "labels": labels_B.tolist(),
        "classes": names_of(labels_B, facts["class_names"]),
        "generation": dict(settings_of(request)),
    }
    if "edit" in facts:
        said["edit"] = facts["edit"]
    return {TEXT_KEY: json.dumps(said)}


def settings_of(request: Request) -> Iterator[tuple[str, Any]]:
    """All choices of a request by name, as JSON has them."""
    for name, value in vars(request.generation).items():
        yield name, list(value) if isinstance(value, tuple) else value
