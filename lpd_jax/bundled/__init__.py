"""The small dataset that ships with the package: 12 classes of drawn avatars, 64x64 pixels."""

import concurrent.futures
import functools
import pathlib

import numpy as np
from PIL import Image

from lpd_jax.runtime.errors import UserError, shown

FOLDER = pathlib.Path(__file__).parent
MODEL_FOLDER = FOLDER / "model"
PAR_FOLDER = FOLDER / "par"
LLAMAGEN_FOLDER = FOLDER / "llamagen"
CLIPS_FOLDER = FOLDER / "clips"

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
IMAGES_PER_CLASS = 1000
# Of each class, always the same ones.
SPLITS = {"train": slice(0, 900), "validation": slice(900, IMAGES_PER_CLASS)}
MOSAIC_COLUMNS = 25


def load_avatars(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of the avatars, class by class; the first call takes a second or two.

    Args:
        split: "train" (900 pictures a class) or "validation" (100 a class).

    Returns:
        Images, uint8 `[B, 64, 64, 3]`, and labels, int32 `[B]`; both read-only.

    Raises:
        UserError: an unknown split, or a damaged file.
        FileNotFoundError: a file of the package is missing.
    """
    if split not in SPLITS:
        raise UserError(f"split: got {shown(split)}, allowed are 'train' and 'validation'")
    return read_splits()[split]


@functools.cache
def read_splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits: a file holds all pictures of its class, and is slow to decode twice."""
    paths = [FOLDER / "avatars12" / f"{i:02d}_{name}.webp" for i, name in enumerate(CLASS_NAMES)]
    # Pillow decodes outside Python's lock.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        mosaics = list(pool.map(read_mosaic, paths))
    splits = {}
    for name, rows in SPLITS.items():
        images = np.concatenate([mosaic[rows] for mosaic in mosaics])
        labels = np.arange(len(mosaics), dtype=np.int32).repeat(len(mosaics[0][rows]))
        images.setflags(write=False)
        labels.setflags(write=False)
        splits[name] = images, labels
    return splits


def read_mosaic(path: pathlib.Path) -> np.ndarray:
    """Cuts a mosaic of 64x64 tiles, row by row, into uint8 `[B, 64, 64, 3]`."""
    if not path.is_file():
        raise FileNotFoundError(f"bundled pictures: {path} is missing; install lpd_jax again")
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise UserError(
            f"bundled pictures: got {path}, which is damaged; install lpd_jax again: {error}"
        ) from None
    rows, columns = IMAGES_PER_CLASS // MOSAIC_COLUMNS, MOSAIC_COLUMNS
    if pixels.shape[:2] != (rows * IMAGE_SIZE, columns * IMAGE_SIZE):
        raise UserError(
            f"bundled pictures: got {path}, which is damaged; install lpd_jax again: wrong size"
        )
    tiles = pixels.reshape(rows, IMAGE_SIZE, columns, IMAGE_SIZE, 3).swapaxes(1, 2)
    return tiles.reshape(rows * columns, IMAGE_SIZE, IMAGE_SIZE, 3)
