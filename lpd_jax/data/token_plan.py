"""Which token cache to make of a dataset of pictures, and making it."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from lpd_jax.data.batches import Share
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import ImageSource, image_shape, image_size, open_images
from lpd_jax.data.token_cache import CacheSettings
from lpd_jax.data.token_encoder import BatchEncoder, encode_batches, read_batches
from lpd_jax.data.token_writer import Exchange, ReadShard, TokenBatch, write_shards
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.pixels import most_at_once
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest

IMAGES_PER_SHARD = 4096


class Job(NamedTuple):
    """A cache to be made."""

    tokenizer: Weights
    sources: tuple[ImageSource, ...]  # the same pictures, in the size of each crop ratio
    settings: CacheSettings


def plan_cache(
    tokenizer: Weights,
    config: DataConfig,
    split: str,
    views: str = "mirror",
    crop_ratios: Sequence[float] = (1.1,),
    images_per_shard: int = IMAGES_PER_SHARD,
) -> Job:
    """What to encode and how; writes nothing.

    Args:
        tokenizer: the encoder.
        config: a dataset of images, or of clips, whose window in the middle is kept.
        split: "train" or "validation".
        views: "one", "mirror" or "ten_crop".
        crop_ratios: with "ten_crop", side of the image that crops are cut from, in crops; each
            ratio gives ten views.
        images_per_shard: how much work a kill may cost.

    Raises:
        UserError: a dataset that cannot be opened, an image size that is no whole grid of tokens.
    """
    if config.random_crop < 1:
        raise UserError(
            f"data.random_crop: got {shown(config.random_crop)}, allowed is 1 where tokens are "
            "kept: tokenizers alone see new crops in every epoch"
        )
    size = image_size(config)
    grid = tokenizer_of(tokenizer.config).grid_of(image_shape(config), "data.image_size")
    ratios = tuple(map(float, crop_ratios)) if views == "ten_crop" else (1.0,)
    # Truncated, as LlamaGen has it: 256 pixels are cut from 281.
    source, *others = (open_images(config, split, int(size * ratio)) for ratio in ratios)
    settings = CacheSettings(
        tokenizer=weights_digest(tokenizer.params, tokenizer.config),
        dataset=source.description,
        num_images=len(source),
        num_classes=source.num_classes,
        class_names=source.class_names,
        image_size=size,
        grid_size=grid,
        codebook_size=tokenizer.config.codebook_size,
        views=views,
        crop_ratio=ratios[0],
        other_crop_ratios=ratios[1:],
        images_per_shard=images_per_shard,
        encode_precision=config.encode_precision,
        contents=source.contents(),
    )
    return Job(tokenizer, (source, *others), settings)


def write_token_cache(
    folder: pathlib.Path,
    job: Job,
    *,
    batch_size: int | None = None,
    num_threads: int = 8,
    share: Share | None = None,
    exchange: Exchange | None = None,
    field: str = "output",
) -> None:
    """Writes the shards of this process that are not there yet; process 0 ends with the index.

    A cache that is finished is left as it is.

    Args:
        folder: of the cache; may hold shards that an earlier, stopped run wrote.
        job: what to write.
        batch_size: images, each in all its views, encoded together on the devices of a process;
            None is `images_at_once`.
        num_threads: that read images ahead, one batch each.
        share: see `write_shards`.
        exchange, field: see `write_shards`.

    Raises:
        UserError: as `write_shards`; an image cannot be read.
    """

    if batch_size is None:
        batch_size = images_at_once(job, jax.local_device_count())

    def open_encoder() -> ReadShard:
        most_views = batch_size * job.settings.num_views
        encoder = BatchEncoder(job.tokenizer, most_views, job.settings.encode_precision)

        def read_shard(images: range) -> Iterator[TokenBatch]:
            batches = read_batches(job.sources, job.settings, images, batch_size, num_threads)
            return encode_batches(batches, encoder)

        return read_shard

    write_shards(folder, job.settings, open_encoder, "encoding", share, exchange, field)


def images_at_once(job: Job, num_devices: int) -> int:
    """How many images in all their views so many devices encode together; at least one."""
    size = tokenizer_of(job.tokenizer.config).size_of(job.settings.grid_size)
    return max(1, num_devices * most_at_once(size) // job.settings.num_views)
