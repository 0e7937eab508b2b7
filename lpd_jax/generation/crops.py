"""What a box or a mask of a whole picture is of the square that a model sees of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from lpd_jax.generation.masks import LIGHT, box_mask
from lpd_jax.runtime.errors import UserError, shown

Box = tuple[int, int, int, int]  # top, left, height, width in pixels


class Crop(NamedTuple):
    """The square in the middle of a picture, brought to a size: `images.center_crop`."""

    picture: tuple[int, int]  # height and width of the whole
    size: int  # side of what is left

    def box(self, box: Sequence[int]) -> Box:
        """A box of the whole picture in pixels of the square, rounded outwards and cut to it.

        Raises:
            UserError: no box of the picture, or one that lies beside the square.
        """
        box_mask(box, self.picture)
        top, left, height, width = (int(number) for number in box)
        scale = self.size / min(self.picture)
        ends = []
        for start, length, side in zip((top, left), (height, width), self.picture, strict=True):
            cut = (side * scale - self.size) / 2
            first = max(0, math.floor(start * scale - cut))
            ends.append((first, min(self.size, math.ceil((start + length) * scale - cut))))
        (top, bottom), (left, right) = ends
        if top >= bottom or left >= right:
            raise UserError(
                f"box: got {shown(list(box))}, which lies beside the square that is cut out of the "
                f"{self.picture[0]}x{self.picture[1]} picture; allowed are boxes that reach into it"
            )
        return top, left, bottom - top, right - left

    def mask(self, mask_HW: np.ndarray) -> np.ndarray:
        """A mask of the whole picture, bool `[H, W]`, of the square: bool `[S, S]`.

        A pixel of the square is repainted where half of what it covers is.
        """
        side = min(self.picture)
        top, left = ((length - side) / 2 for length in self.picture)
        painted = Image.fromarray(np.where(mask_HW, 255, 0).astype(np.uint8))
        area = (left, top, left + side, top + side)
        square = painted.resize((self.size, self.size), Image.Resampling.BOX, box=area)
        return np.asarray(square) > LIGHT
