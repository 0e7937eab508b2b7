"""Sets of pictures to judge: a folder, an .npz, a data set. Pictures come by their numbers.

Letters: B pictures, H height, W width.
"""

import abc
import contextlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import ImageSource, open_images
from lpd_jax.evaluation.file_lists import evenly, files_with, first_odd_picture, spread_out, what_is
from lpd_jax.evaluation.gaussian_files import DAMAGE
from lpd_jax.evaluation.stored_arrays import opened_at, read_header
from lpd_jax.images import center_crop
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.foreign_files import what_instead
from lpd_jax.runtime.picture_files import UnreadablePicture, endings, read_file, read_picture

PICTURES_AT_ONCE = 64
ARRAYS = "arr_0.npy"  # where ADM's files hold their pictures
SPLITS = ("train", "validation")
EVENLY = {"taken": "evenly among all"}  # what a record says where the first ones were not
WHAT = (
    "allowed are a folder of pictures, an .npz with arr_0, avatars12 and tfds:NAME; of clips, with "
    "network=i3d, a folder and an .npz"
)


class PictureSet(abc.ABC):
    """Pictures 0, 1, ...: whoever asks for some gets the same, whoever else asks for others.

    count: how many there are.
    size: (height, width) of each; of clips, which are sets of their own, (frames, height, width).
    labels: classes int `[B]`, where they are known.
    class_names: one a class, or none.
    extras: numbers that come with each picture, by name: how many.
    """

    count: int
    size: tuple[int, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    extras: Mapping[str, int] = {}

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that the pictures depend on, as JSON has it."""

    @abc.abstractmethod
    def batches(self, rows: range) -> Iterator[np.ndarray]:
        """These pictures in order, uint8 `[B, H, W, 3]`, some at a time."""

    def measured(self, rows: range) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """The same, each with its extras, float32 `[B, width]`."""
        for images_BHWC in self.batches(rows):
            yield images_BHWC, {}

    def summarize(self, parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """What a record says of the extras of all pictures, which come in parts."""
        del parts
        return {}


class FolderSet(PictureSet):
    """Picture files below a folder, in the order of their paths."""

    def __init__(
        self, folder: Any, image_size: int = 0, field: str = "pictures", num_images: int = 0
    ):
        """Args:
        folder: local or of a bucket; files in hidden folders are left out.
        image_size: side of ADM's centre crop; 0 takes pictures of one size as they are.
        field: what the user calls the folder.
        num_images: how many will be asked for, see `spread_out`; 0 is all.
        """
        self.folder, self.image_size, self.field = folder, image_size, field
        names, self.contents = files_with(folder, endings(), field)
        self.names = spread_out(names, num_images)
        self.taken = {} if names == self.names else EVENLY
        if not self.names:
            raise UserError(f"{field}: got {shown_path(folder)}, which holds no pictures; {WHAT}")
        self.count = len(self.names)
        self.size = self.read(0).shape[:2]
        asked = self.names[: num_images or None]
        odd = first_odd_picture(folder, asked, () if image_size else self.size)
        if odd is not None:  # refused before any is judged
            self.check_size(odd, self.read(odd))

    def check_size(self, row: int, image_HWC: np.ndarray) -> None:
        """Raises UserError for a picture of another size than the first."""
        height, width = image_HWC.shape[:2]
        if (height, width) != self.size:
            raise UserError(
                f"{self.field}: got {shown_path(self.folder / self.names[row])} of "
                f"{width}x{height} pixels, allowed is one size for all, "
                f"{self.size[1]}x{self.size[0]} as the first has; image_size cuts all to one"
            )

    def read(self, row: int) -> np.ndarray:
        """One picture, uint8 `[H, W, 3]`."""
        file = self.folder / self.names[row]
        try:
            image = read_picture(read_file(file))
        except (UnreadablePicture, OSError) as error:
            raise UserError(f"{self.field}: got {shown_path(file)}: {error}") from None
        if not self.image_size:
            return np.asarray(image)
        return center_crop(image, self.image_size, f"{self.field}: {file}")

    def settings(self) -> dict[str, Any]:
        return {
            "pictures": str(self.folder),
            "contents": self.contents,
            "count": self.count,
            **self.taken,
            "size": list(self.size),
            "preprocessing": preprocessing(self.image_size),
        }

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        for part in parts_of(rows):
            images = [self.read(row) for row in part]
            for row, image_HWC in zip(part, images, strict=True):
                self.check_size(row, image_HWC)
            yield np.stack(images)


class ArraySet(PictureSet):
    """The pictures of an .npz as ADM's evaluator reads it; never in memory all at once."""

    def __init__(self, path: Any, field: str = "pictures"):
        """Args:
        path: local file; `arr_0` uint8 `[B, H, W, 3]`, of clips `[B, T, H, W, 3]`, and perhaps
            `arr_1`, labels `[B]`.
        field: what the user calls the file.
        """
        self.path, self.field = path, field
        if reason := what_instead(path):
            raise UserError(f"{field}: got {shown_path(path)}, {reason}")
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                self.contents = f"{archive.getinfo(ARRAYS).CRC:08x}"
                with archive.open(ARRAYS) as file:
                    shape, fortran, dtype = read_header(file)
                if "arr_1.npy" in names:
                    # Labels that are no numbers are none.
                    with archive.open("arr_1.npy") as file, contextlib.suppress(ValueError):
                        self.labels = np.asarray(npy.read_array(file)).ravel()
        except DAMAGE as error:
            problem = " ".join(str(error).split())
            raise UserError(
                f"{field}: got {shown_path(path)}, which holds no pictures ({problem}); {WHAT}"
            ) from None
        if dtype != np.uint8 or len(shape) not in (4, 5) or shape[-1] != 3 or fortran:
            raise UserError(
                f"{field}: got {shown_path(path)} whose arr_0 is {dtype} {shape}, allowed is uint8 "
                "[images, height, width, 3], or [clips, frames, height, width, 3]"
            )
        labels = self.labels
        if labels is not None and (labels.shape != shape[:1] or labels.dtype.kind not in "iu"):
            self.labels = None
        self.count, self.size = shape[0], shape[1:-1]

    def settings(self) -> dict[str, Any]:
        return {
            "pictures": str(self.path),
            "contents": self.contents,
            "count": self.count,
            "size": list(self.size),
        }

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        shape = (*self.size, 3)
        one = int(np.prod(shape))
        with opened_at(self.path, ARRAYS, rows.start * one) as file:
            for part in parts_of(rows):
                pixels = file.read(len(part) * one)
                if len(pixels) < len(part) * one:
                    raise UserError(f"{self.field}: got {shown_path(self.path)}, which is cut off")
                yield np.frombuffer(pixels, np.uint8).reshape(len(part), *shape)


class DataSet(PictureSet):
    """Pictures of a data set, cut as training cuts them."""

    def __init__(self, source: ImageSource, num_images: int = 0):
        self.source, self.count = source, len(source)
        self.rows = evenly(self.count, num_images)
        self.size = source.shape
        self.class_names = source.class_names

    def settings(self) -> dict[str, Any]:
        rate = self.source.frame_rate
        return {
            "pictures": self.source.description,
            "count": self.count,
            **({} if rate is None else {"frame_rate": rate}),
            **({} if isinstance(self.rows, range) else EVENLY),
            "size": list(self.size),
            "preprocessing": preprocessing(self.source.image_size),
        }

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        for part in parts_of(rows):
            yield np.stack([self.source.view(self.rows[row], 0)["image"] for row in part])


class FirstPictures(PictureSet):
    """The first ones of a set."""

    def __init__(self, pictures: PictureSet, count: int):
        self.pictures, self.count, self.size = pictures, count, pictures.size
        self.class_names = pictures.class_names
        labels = pictures.labels
        self.labels = None if labels is None else labels[:count]

    def settings(self) -> dict[str, Any]:
        return self.pictures.settings() | {"count": self.count}

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        return self.pictures.batches(rows)


def open_pictures(
    name: str, *, split: str = "train", image_size: int = 0, num_images: int = 0, field="pictures"
) -> PictureSet:
    """Pictures by what a user calls them.

    Args:
        name: a folder, an .npz with `arr_0`, "avatars12" or "tfds:NAME".
        split: of a data set, "train" or "validation".
        image_size: side of ADM's centre crop, for folders and data sets of TFDS.
        num_images: so many, evenly among all; of one folder or file the first; 0 is all.
        field: what the user calls it.

    Raises:
        UserError: none of these, or fewer pictures than asked for.
    """
    pictures = _open(name, split, image_size, field, num_images)
    return first_pictures(pictures, num_images, name, field)


def first_pictures(
    pictures: PictureSet, num_images: int, name: str, field: str = "pictures"
) -> PictureSet:
    """The first ones of a set, or all of them for 0; UserError for more than there are."""
    if pictures.count < 2:
        raise UserError(
            f"{field}: got {pictures.count} of {shown_path(name)}, allowed are 2 or more"
        )
    if num_images > pictures.count or num_images == 1:
        raise UserError(
            f"num_images: got {num_images}, allowed are 2 to the "
            f"{pictures.count} of {shown_path(name)}"
        )
    return FirstPictures(pictures, num_images) if num_images else pictures


def _open(name: str, split: str, image_size: int, field: str, num_images: int) -> PictureSet:
    if name == "avatars12":
        return DataSet(open_images(DataConfig(image_size=image_size), split), num_images)
    if name.startswith("tfds:"):
        config = DataConfig(dataset="tfds", name=name.removeprefix("tfds:"), image_size=image_size)
        return DataSet(open_images(config, split), num_images)
    place = located(field, name) if name else None
    if place is not None and place.is_dir():
        return FolderSet(place, image_size, field, num_images)
    if place is not None and place.suffix == ".npz" and place.is_file():
        check_uncut(image_size)
        return ArraySet(place, field)
    raise UserError(f"{field}: {what_is(name, place)}; {WHAT}")


def check_uncut(image_size: int) -> None:
    """Raises UserError for a crop of the pictures of an .npz, which are taken as they are."""
    if image_size:
        raise UserError(f"image_size: got {shown(image_size)}, allowed for an .npz is 0: uncut")


def parts_of(rows: range, at_once: int = 0) -> Iterator[range]:
    at_once = at_once or PICTURES_AT_ONCE
    for first in range(rows.start, rows.stop, at_once):
        yield range(first, min(first + at_once, rows.stop))


def preprocessing(image_size: int) -> str:
    """In words, for records."""
    if not image_size:
        return "none"
    return f"ADM's centre crop to {image_size}x{image_size} (box halving, then bicubic)"
