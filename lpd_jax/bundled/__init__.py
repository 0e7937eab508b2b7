"""The small dataset that ships with the package: 12 classes of drawn avatars, 64x64 pixels."""

import functools
import pathlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
MODEL_FOLDER = FOLDER / "model"

CLASS_NAMES = (
    "pixelArt",
    "lorelei",
    "notionists",
    "openPeeps",
    "thumbs",
    "adventurer",
    "bigEars",
    "bigSmile",
    "funEmoji",
    "micah",
    "miniavs",
    "personas",
)
IMAGE_SIZE = 64
NUM_TRAIN_PER_CLASS = 900  # pictures 900 to 999 of a class are for validation, always
MOSAIC_COLUMNS = 25


@functools.cache
def load_avatars(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of the avatars, class by class.

    Args:
        split: "train" (900 pictures a class) or "validation" (100 a class).

    Returns:
        Images, uint8 `[B, 64, 64, 3]`, and labels, int32 `[B]`; both read-only.

    Raises:
        ValueError: an unknown split.
    """
    if split not in ("train", "validation"):
        raise ValueError(f"split: got {split!r}, allowed are 'train' and 'validation'")
    rows = (
        slice(None, NUM_TRAIN_PER_CLASS) if split == "train" else slice(NUM_TRAIN_PER_CLASS, None)
    )
    images = [
        read_mosaic(FOLDER / "avatars12" / f"{i:02d}_{name}.webp")[rows]
        for i, name in enumerate(CLASS_NAMES)
    ]
    labels = np.repeat(np.arange(len(CLASS_NAMES), dtype=np.int32), [len(x) for x in images])
    pictures = np.concatenate(images)
    pictures.setflags(write=False)
    labels.setflags(write=False)
    return pictures, labels


def read_mosaic(path: pathlib.Path) -> np.ndarray:
    """Cuts a mosaic of 64x64 tiles, row by row, into uint8 `[B, 64, 64, 3]`."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rows, columns = pixels.shape[0] // IMAGE_SIZE, MOSAIC_COLUMNS
    tiles = pixels.reshape(rows, IMAGE_SIZE, columns, IMAGE_SIZE, 3).swapaxes(1, 2)
    return tiles.reshape(rows * columns, IMAGE_SIZE, IMAGE_SIZE, 3)
