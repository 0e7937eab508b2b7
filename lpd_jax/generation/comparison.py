"""Edited pictures beside those that they were made of."""

import itertools
from collections.abc import Sequence

import numpy as np

from lpd_jax import images
from lpd_jax.generation.inpaint import Edited

HIDDEN = 160  # grey of what was not kept


def comparison(
    command: str, pictures: np.ndarray, edited: Edited, names: Sequence[str]
) -> np.ndarray:
    """Rows of originals, of what of them was kept, and of what came of it; one column each."""
    count = len(edited.images_BHWC)
    rows, titles = [], []
    if command != "outpaint":  # there the original is what was kept
        rows, titles = [np.resize(pictures, edited.images_BHWC.shape)], ["original"] * count
    hidden_BHW1 = edited.mask_BHW[..., None]
    rows += [np.where(hidden_BHW1, np.uint8(HIDDEN), edited.images_BHWC), edited.images_BHWC]
    titles += ["kept"] * count + list(itertools.islice(itertools.cycle(names), count))
    return images.labelled_grid(np.concatenate(rows), titles, columns=count)
