"""Requests of any length as runs of a few sizes.

Letters: B images, N tokens per image, K known tokens.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.decoding.scan import Known
from lpd_jax.generation import generate
from lpd_jax.generation.request import Request
from lpd_jax.models.pixels import MOST_FRAMES, MOST_PIXELS

# One function is compiled for each size that occurs, so requests of all lengths share these.
BATCH_SIZES = (64, 32, 16, 8, 4, 2, 1)
MAX_PADDING = 0.25  # of a request's work may go into pictures that nobody asked for


def batch_size_for(num_images: int, num_frames: int = 1, num_pixels: int = 1) -> int:
    """Images per run: the largest size that stays below `MAX_PADDING`. 12 -> 4, 60 -> 64.

    Args:
        num_frames: of each image, where it is a clip; see `MOST_FRAMES`.
        num_pixels: height times width of what comes or goes; see `MOST_PIXELS`.
    """
    for size in BATCH_SIZES:
        if size * num_frames > MOST_FRAMES or size * num_pixels > MOST_PIXELS:
            continue
        padding = -num_images % size
        if padding < MAX_PADDING * (num_images + padding):
            return size
    return 1


class Chunk(NamedTuple):
    """What one run draws; see `generate_tokens`."""

    labels_B: np.ndarray
    order_BN: np.ndarray
    keys_B: jax.Array
    known: Known | None


def chunks_of(request: Request, size: int) -> Iterator[Chunk]:
    """Chunks of `size` images; the last is filled up with repeats."""
    count = len(request.labels)
    index_B = np.arange(count) if request.image_index is None else request.image_index
    known_BK = np.empty((count, 0)) if request.known is None else request.known.tokens_BK
    rows: list[Any] = [request.labels, request.order, index_B, known_BK]
    labels_B, order_BN, index_B, known_BK = (pad_rows(x, -count % size) for x in rows)
    for start in range(0, len(labels_B), size):
        cut = slice(start, start + size)
        keys_B = generate.keys_of(request.seed, index_B[cut])
        known = request.known and request.known._replace(tokens_BK=known_BK[cut])
        yield Chunk(labels_B[cut], order_BN[cut], keys_B, known)


def pad_rows(rows: np.ndarray, padding: int) -> np.ndarray:
    """The rows, and the last of them `padding` times more."""
    return np.concatenate([rows, np.repeat(rows[-1:], padding, axis=0)])
