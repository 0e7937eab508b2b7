"""Features of any number of images by a network that is compiled for one number of them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_batches(
    look: Callable[[np.ndarray], Any], images_BHWC: np.ndarray, batch_size: int, none: Any
) -> Any:
    """Features `[B, F]`, or a tree of such arrays; the last batch is padded, its padding cut off.

    Args:
        look: `batch_size` images -> their features.
        images_BHWC: pictures or clips, any number of them along the first axis.
        batch_size: images at a time.
        none: features of no images.
    """
    parts = [none]
    for start in range(0, len(images_BHWC), batch_size):
        batch_BHWC = images_BHWC[start : start + batch_size]
        size = len(batch_BHWC)
        padding = [(0, batch_size - size)] + [(0, 0)] * (batch_BHWC.ndim - 1)
        features = jax.device_get(look(np.pad(batch_BHWC, padding)))
        parts.append(jax.tree.map(lambda rows_BF, size=size: rows_BF[:size], features))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
