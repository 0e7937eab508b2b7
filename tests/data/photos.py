"""Small pictures in folders, as a user has them."""

import pathlib

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cow")


def pixels(seed: int, height: int = 20, width: int = 26) -> np.ndarray:
    """Uneven enough that crops and mirrors differ."""
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(height, width, 3)).astype(np.uint8)


def write_folder(root: pathlib.Path, per_class: int, suffix: str = ".png") -> pathlib.Path:
    """`root/ant/0.png` and so on; picture i of class c is `pixels(100 * c + i)`."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            image = Image.fromarray(pixels(100 * label + i))
            image.save(root / name / f"{i}{suffix}")
    return root
