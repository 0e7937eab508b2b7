"""Pictures to tokens, in order: views cut while earlier ones are encoded on all local devices.

Letters: B images, V views of each, H W pixels, S their side, C channels, N tokens.
"""

import collections
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import grain
import jax
import numpy as np

from lpd_jax.data.batches import read_ahead
from lpd_jax.data.pictures import BadImage, ImageSource
from lpd_jax.data.token_cache import CacheSettings
from lpd_jax.models.pixels import encode_images
from lpd_jax.models.tokenizer_family import EXACT
from lpd_jax.weights.loading import Weights


class ImageBatch(NamedTuple):
    """Consecutive images of a shard in all their views, without those that cannot be read."""

    last: int  # number of the last image, readable or not
    ids: list[int]
    labels: list[int]
    views: list[np.ndarray]  # uint8 [V, S, S, 3] each


def read_batches(
    sources: Sequence[ImageSource],
    settings: CacheSettings,
    images: range,
    batch_size: int,
    num_threads: int,
) -> Iterator[ImageBatch]:
    """Consecutive images in order, read ahead by threads that make a batch each.

    Args:
        sources: the same pictures, in the size of each crop ratio.
    """

    def read(first: int) -> ImageBatch:
        batch = ImageBatch(min(first + batch_size, images.stop) - 1, [], [], [])
        for i in range(first, batch.last + 1):
            try:
                pictures, labels = zip(*(source.read(i) for source in sources), strict=True)
            except BadImage as error:
                if not sources[0].skip_bad:
                    raise
                sources[0].note(i, error)
                continue
            batch.ids.append(i)
            batch.labels.append(labels[0])
            batch.views.append(make_views(pictures, settings))
        return batch

    batches = grain.MapDataset.range(images.start, images.stop, batch_size).map(read)
    with contextlib.closing(read_ahead(batches, num_threads)) as iterator:
        yield from iterator


def make_views(images: Sequence[np.ndarray], settings: CacheSettings) -> np.ndarray:
    """All views of an image, uint8 `[V, S, S, 3]`, or of a clip `[V, T, S, S, 3]`.

    The centre and the corners of the image in each of its sizes, then all of them mirrored.
    """
    size, crops = settings.image_size, []
    for image_HWC in images:
        rest = image_HWC.shape[-3] - size
        # Half a pixel goes to the even side, as torchvision's centre crop rounds.
        starts = [(round(rest / 2), round(rest / 2)), (0, 0), (0, rest), (rest, 0), (rest, rest)]
        count = 5 if settings.views == "ten_crop" else 1
        crops += [image_HWC[..., y : y + size, x : x + size, :] for y, x in starts[:count]]
    views_VHWC = np.stack(crops)
    if settings.views == "one":
        return views_VHWC
    return np.concatenate([views_VHWC, views_VHWC[..., ::-1, :]])


class BatchEncoder:
    """The tokenizer's encoder on all devices of this process, for batches of one size."""

    def __init__(self, tokenizer: Weights, batch_size: int, precision: str = EXACT):
        """Args:
        tokenizer: config and weights.
        batch_size: most images at once; rounded up to a multiple of the devices.
        precision: see `encode_images`.
        """
        devices = jax.local_devices()
        mesh = jax.sharding.Mesh(np.asarray(devices), ("data",))
        self.sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
        self.batch_size = -(-batch_size // len(devices)) * len(devices)
        self.config, self.precision = tokenizer.config, precision
        everywhere = jax.sharding.NamedSharding(mesh, jax.P())
        self.params = jax.device_put(tokenizer.params, everywhere)

    def start(self, images_BHWC: np.ndarray) -> jax.Array:
        """Starts encoding at most `batch_size` images: tokens int32 `[batch_size, N]`."""
        # The rest of the batch, which nobody reads, keeps the shape: one compilation.
        missing = self.batch_size - len(images_BHWC)
        edges = [(0, 0)] * (images_BHWC.ndim - 1)
        images_BHWC = np.pad(images_BHWC, [(0, missing), *edges])
        images_BHWC = jax.device_put(images_BHWC, self.sharding)
        return encode_images(self.config, self.params, images_BHWC, self.precision)


def encode_batches(
    batches: Iterable[ImageBatch], encoder: BatchEncoder
) -> Iterator[tuple[ImageBatch, np.ndarray]]:
    """Batches with their tokens `[B, V, N]`; the next is encoded while one is being written."""
    running: collections.deque = collections.deque()
    for batch in batches:
        views = np.concatenate(batch.views) if batch.views else None
        running.append((batch, None if views is None else encoder.start(views)))
        if len(running) > 1:
            yield fetch_tokens(*running.popleft())
    while running:
        yield fetch_tokens(*running.popleft())


def fetch_tokens(batch: ImageBatch, tokens: jax.Array | None) -> tuple[ImageBatch, np.ndarray]:
    count = len(batch.ids)
    if tokens is None:
        return batch, np.zeros((0, 0, 0), np.int32)
    tokens_BN = np.asarray(tokens)[: count * len(batch.views[0])]
    return batch, tokens_BN.reshape(count, -1, tokens_BN.shape[-1])
