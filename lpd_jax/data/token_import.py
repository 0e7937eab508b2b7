"""Takes token caches of other code bases over into ours, shard by shard, as encoding writes them.

Letters: B images, V views of each, N tokens.
"""

import contextlib
import hashlib
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from lpd_jax.data.batches import read_ahead
from lpd_jax.data.foreign_caches import ForeignCache, open_foreign_cache
from lpd_jax.data.token_cache import NUM_VIEWS, CacheSettings
from lpd_jax.data.token_encoder import ImageBatch
from lpd_jax.data.token_plan import IMAGES_PER_SHARD
from lpd_jax.data.token_writer import ReadShard, TokenBatch, write_shards
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.runtime.errors import UserError, printable, shown_path
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest

# Where torchvision's ten crops have ours. Its centre is the last of five, not the first; its second
# five are the corners of the mirrored image: the mirror of the left one is the right one there.
TEN_CROPS = (4, 0, 1, 2, 3, 9, 6, 5, 8, 7)


def open_foreign_caches(paths: Sequence[str], split: str) -> list[ForeignCache]:
    """Caches of the same images, in crops of different ratios.

    Raises:
        UserError: no such cache, or caches of other images than the first one's.
    """
    caches = [open_foreign_cache(path, split) for path in paths]
    for cache in caches[1:]:
        if (len(cache.names), cache.class_names) != (len(caches[0].names), caches[0].class_names):
            raise UserError(
                f"from: got {shown_path(cache.path)} of {len(cache.names)} images beside "
                f"{shown_path(caches[0].path)} "
                f"of {len(caches[0].names)}, allowed are caches of the same images"
            )
    return caches


def plan_import(
    caches: Sequence[ForeignCache],
    tokenizer: Weights,
    model: TransformerConfig,
    crop_ratios: Sequence[float],
    images_per_shard: int = IMAGES_PER_SHARD,
) -> CacheSettings:
    """What the cache is to be; the first image tells how many views there are.

    Args:
        tokenizer: what the tokens are taken to be of: no token tells.
        model: a transformer of their grid and codebook.
        crop_ratios: of ten crops, one for each cache.

    Raises:
        UserError: views that are none of ours, or ten crops without a ratio for each cache.
    """
    num_views = {len(cache.tokens(cache.names[0])) for cache in caches}
    views = next((name for name, count in NUM_VIEWS.items() if num_views == {count}), None)
    if views is None or (len(caches) > 1 and views != "ten_crop"):
        raise UserError(
            f"from: got {sorted(num_views)} views of an image in {len(caches)} caches, allowed are "
            "1, 2 and 10 in one, or 10 in each of several"
        )
    ratios = tuple(map(float, crop_ratios)) if views == "ten_crop" else (1.0,)
    if len(ratios) != len(caches):
        raise UserError(
            f"crop_ratio: got {len(ratios)} for {len(caches)} caches of ten crops, allowed is one "
            "for each path of --from"
        )
    names = "\n".join(x for c in caches for x in c.names).encode("utf-8", "surrogateescape")
    listed = hashlib.sha256(names).hexdigest()
    first = printable(pathlib.Path(caches[0].path).name)
    return CacheSettings(
        tokenizer=weights_digest(tokenizer.params, tokenizer.config),
        dataset=f"imported {first}, list of files {listed[:16]}",
        num_images=len(caches[0].names),
        num_classes=len(caches[0].class_names) or model.num_classes,
        class_names=caches[0].class_names,
        image_size=tokenizer_of(tokenizer.config).size_of(model.grid_size)[0],
        grid_size=model.grid_size,
        codebook_size=tokenizer.config.codebook_size,
        views=views,
        crop_ratio=ratios[0],
        other_crop_ratios=ratios[1:],
        images_per_shard=images_per_shard,
    )


def import_tokens(
    folder: pathlib.Path,
    caches: Sequence[ForeignCache],
    settings: CacheSettings,
    *,
    batch_size: int = 64,
    num_threads: int = 8,
    **choices: Any,
) -> None:
    """Writes the shards that are not there yet; see `token_plan.write_token_cache`.

    Raises:
        UserError: as that does; and a file that is damaged, or of another grid, codebook, number
            of views or classes, by its name.
    """

    def read_shard(images: range) -> Iterator[TokenBatch]:
        def read(first: int) -> TokenBatch:
            ids = list(range(first, min(first + batch_size, images.stop)))
            labels = [read_label(caches, settings, i) for i in ids]
            tokens_BVN = np.stack([read_views(caches, settings, i) for i in ids])
            return ImageBatch(ids[-1], ids, labels, []), tokens_BVN

        batches = grain.MapDataset.range(images.start, images.stop, batch_size).map(read)
        with contextlib.closing(read_ahead(batches, num_threads)) as iterator:
            yield from iterator

    def open_tokens() -> ReadShard:
        return read_shard

    write_shards(folder, settings, open_tokens, "importing", **choices)


def read_label(caches: Sequence[ForeignCache], settings: CacheSettings, index: int) -> int:
    labels = [cache.label(cache.names[index]) for cache in caches]
    if len(set(labels)) > 1 or not 0 <= labels[0] < settings.num_classes:
        raise UserError(
            f"from: {printable(caches[0].path)}: {printable(caches[0].names[index])} has labels "
            f"{labels}, allowed is one in all caches, from 0 to {settings.num_classes - 1}"
        )
    return labels[0]


def read_views(caches: Sequence[ForeignCache], settings: CacheSettings, index: int) -> np.ndarray:
    """Tokens of an image in our order of views, `[V, N]`."""
    halves: list[list[np.ndarray]] = [[], []]
    num_tokens = math.prod(settings.grid_size)
    for cache in caches:
        tokens_VN = cache.tokens(cache.names[index])
        name = f"{printable(cache.path)}: {printable(cache.names[index])}"
        if tokens_VN.shape != (wanted := (NUM_VIEWS[settings.views], num_tokens)):
            raise UserError(
                f"from: {name} holds {tokens_VN.shape} views and tokens, allowed is "
                f"{wanted}: as in the first image, and a grid of "
                f"{'x'.join(map(str, settings.grid_size))}"
            )
        if tokens_VN.min() < 0 or tokens_VN.max() >= settings.codebook_size:
            raise UserError(
                f"from: {name} holds tokens {tokens_VN.min()} to {tokens_VN.max()}, "
                f"allowed are 0 to {settings.codebook_size - 1}"
            )
        if settings.views == "ten_crop":
            tokens_VN = tokens_VN[list(TEN_CROPS)]
        for half, part_VN in zip(halves, np.array_split(tokens_VN, 2), strict=True):
            half.append(part_VN)
    return np.concatenate([*halves[0], *halves[1]])
