"""A dataset as tokens on disk: ArrayRecord shards, and an index that says what made them.

A record is the image's number in its dataset, its label, and the tokens of its views, in bytes of
one length. `token_writer` makes caches, this module reads them.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource

from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.runtime import json_files
from lpd_jax.runtime.bucket_cache import kept_here
from lpd_jax.runtime.buckets import is_bucket, located
from lpd_jax.runtime.config_fields import from_mapping
from lpd_jax.runtime.disk_faults import DiskError, tells_of_reading
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.open_files import make_room

FORMAT_VERSION = 1
INDEX_FILE = "index.json"
# What a cache is to become, while its shards are written.
SETTINGS_FILE = "settings.json"
# The image; with its mirror; five crops of an enlarged image and their mirrors, for each ratio.
NUM_VIEWS = {"one": 1, "mirror": 2, "ten_crop": 10}
UNKNOWN = "unknown"
AGAIN = "make it again with launch/cache_tokens.py"


@dataclasses.dataclass(frozen=True)
class CacheSettings:
    """What the contents of a cache depend on.

    Attributes:
        tokenizer: digest of its config and weights.
        dataset: the description of the pictures.
        num_images: in the dataset; a cache made with bad_images="skip" may have fewer records.
        num_classes: labels are below it.
        class_names: one a class, or none.
        image_size: side in pixels of what is encoded.
        grid_size: rows and columns of tokens; before them frames, of clips.
        codebook_size: tokens are below it.
        views: a key of NUM_VIEWS.
        crop_ratio: side of the image that ten crops are cut from, in crops.
        other_crop_ratios: of further images, each of which gives ten crops more.
        encode_precision: of the products that made the tokens; UNKNOWN where other code made them,
            or an older version of this.
        contents: digest of the sizes of some files; "" where nobody knows them.
        images_per_shard: shard k holds images k * images_per_shard and those after it.
    """

    tokenizer: str
    dataset: str
    num_images: int
    num_classes: int
    image_size: int
    grid_size: tuple[int, ...]
    codebook_size: int
    views: str
    crop_ratio: float
    images_per_shard: int
    class_names: tuple[str, ...] = ()
    other_crop_ratios: tuple[float, ...] = ()
    encode_precision: str = UNKNOWN
    contents: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self):
        if self.views not in NUM_VIEWS:
            allowed = ", ".join(NUM_VIEWS)
            raise UserError(f"views: got {shown(self.views)}, allowed are {allowed}")
        if self.images_per_shard < 1:
            raise UserError(f"images_per_shard: got {self.images_per_shard}, allowed is at least 1")
        for ratio in self.crop_ratios:
            if not 1 <= ratio <= 2:
                raise UserError(f"crop_ratio: got {ratio}, allowed are 1 to 2")

    @property
    def crop_ratios(self) -> tuple[float, ...]:
        return (self.crop_ratio, *self.other_crop_ratios)

    @property
    def num_views(self) -> int:
        return NUM_VIEWS[self.views] * len(self.crop_ratios)

    @property
    def num_shards(self) -> int:
        return math.ceil(self.num_images / self.images_per_shard)

    @property
    def record_type(self) -> np.dtype:
        """Layout of a record: little-endian, no gaps."""
        token = "<u2" if self.codebook_size <= 2**16 else "<i4"
        shape = (self.num_views, math.prod(self.grid_size))
        return np.dtype([("id", "<i8"), ("label", "<i4"), ("tokens", token, shape)])

    def shard_file(self, shard: int) -> str:
        return f"tokens-{shard:05d}-of-{self.num_shards:05d}.array_record"

    def shard_images(self, shard: int) -> range:
        """The images of a shard, by their numbers in the dataset."""
        first = shard * self.images_per_shard
        return range(first, min(first + self.images_per_shard, self.num_images))


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished file of a cache: its name, how many records and how many bytes it has."""

    file: str
    count: int
    size: int


@dataclasses.dataclass(frozen=True)
class CacheIndex:
    settings: CacheSettings
    shards: tuple[Shard, ...]


class CachedImage(NamedTuple):
    id: int  # number of the image in its dataset
    label: int
    tokens_VN: np.ndarray  # int32, raster order; one row for each view


class ShardRecords(NamedTuple):
    """All records of a file, as ArrayRecord wants to be told."""

    filename: bytes  # a text could not hold every name
    skip: int
    take: int
    examples_in_shard: int


class TokenSource:
    """Records `{"tokens": int32 [N], "label": int32 []}` of a cache.

    View 0 is the image, or of ten crops the one in its centre; the second half of the views are
    mirrors of the first.
    """

    def __init__(self, folder: pathlib.Path, index: CacheIndex):
        self.folder, self.settings = folder, index.settings
        self.num_classes, self.num_views = index.settings.num_classes, index.settings.num_views
        self.class_names = index.settings.class_names
        # With the counts given, a shard is opened when it is first read.
        files = [
            ShardRecords(os.fsencode(folder.absolute() / shard.file), 0, shard.count, shard.count)
            for shard in index.shards
        ]
        make_room(2 * len(files))  # they stay open; the other split has some, too
        self.records: Sequence[bytes] = ArrayRecordDataSource(files)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.view(range(len(self))[index], 0)  # an IndexError ends a loop over the source

    def view(self, index: int, view: int) -> dict[str, np.ndarray]:
        image = self.image(index)
        return {"tokens": image.tokens_VN[view], "label": np.asarray(image.label, np.int32)}

    def image(self, index: int) -> CachedImage:
        """One record whole.

        Raises:
            UserError: its shard is damaged.
            DiskError: it is not, but the disk is gone, or too many files are open.
        """
        layout = self.settings.record_type
        try:
            record = np.frombuffer(self.records[index], layout)[0]
        except (RuntimeError, ValueError, IndexError) as error:
            problem = " ".join(str(error).split())
            if tells_of_reading(problem):
                raise DiskError(
                    f"token cache {self.folder}: record {index} could not be read ({problem}); its "
                    f"{self.settings.num_shards} shards stay open, `ulimit -n` says how many may"
                ) from None
            raise UserError(
                f"token cache: got {shown_path(self.folder)}, whose record {index} is damaged "
                f"({problem}); {AGAIN}"
            ) from None
        tokens_VN = record["tokens"].astype(np.int32)
        return CachedImage(int(record["id"]), int(record["label"]), tokens_VN)


def open_token_cache(folder: str | os.PathLike) -> TokenSource:
    """A finished cache, local or of a bucket; what is in a bucket is fetched and kept here.

    Raises:
        UserError: none is there, it is unfinished, or a shard is missing or truncated.
    """
    where = located("data.path", folder)
    if not (where / INDEX_FILE).is_file():
        if (where / SETTINGS_FILE).is_file():
            problem = "which is unfinished; start the command that made it again, it goes on"
        elif (where.parent / INDEX_FILE).is_file():
            problem = f"but {where.parent} is the cache of one split; allowed is the folder above"
        else:
            problem = "which holds no token cache; allowed is what launch/cache_tokens.py writes"
            problem += " with --split=validation" * (where.name == "validation")
        raise UserError(f"data.path: got {shown_path(folder)}, {problem}")
    index = read_json(where / INDEX_FILE, CacheIndex)
    place = kept_here(where) if is_bucket(where) else where
    for shard in index.shards:
        file = place / shard.file
        size = file.stat().st_size if file.is_file() else None
        if size != shard.size:
            problem = "missing" if size is None else f"{size:,} bytes in place of {shard.size:,}"
            raise UserError(
                f"data.path: got {shown_path(folder)}, whose shard {shard.file} is damaged "
                f"({problem}); copy it again, or delete index.json and the shard and make the "
                "cache again"
            )
    if not sum(shard.count for shard in index.shards):
        raise UserError(
            f"data.path: got {shown_path(folder)}, a token cache without an image, allowed is one "
            "with at least one; of its pictures none could be read"
        )
    return TokenSource(place, index)


def read_json(file: pathlib.Path, cls: type) -> Any:
    """A dataclass from its JSON file; UserError where it is damaged or of another version."""
    try:
        mapping = json_files.read_json(file)
        version = mapping.get("settings", mapping).get("format_version")
        if version != FORMAT_VERSION:
            raise UserError(f"format_version: got {version}, allowed is {FORMAT_VERSION}")
        return from_mapping(cls, mapping)
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"token cache: got {shown_path(file)}, which is damaged ({error}); {AGAIN}"
        ) from None


def check_cache(settings: CacheSettings, model: TransformerConfig, tokenizer: str) -> None:
    """Raises UserError where a cache is not what a transformer is to learn.

    Args:
        settings: of the cache.
        model: the transformer's config.
        tokenizer: digest of the tokenizer that is to draw the transformer's tokens.
    """
    for name in ("grid_size", "codebook_size", "num_classes"):
        got, made = getattr(model, name), getattr(settings, name)
        if got != made:
            raise UserError(
                f"model.{name}: got {got}, allowed is {made}, as the tokens of {settings.dataset} "
                "have it"
            )
    if settings.tokenizer != tokenizer:
        raise UserError(
            f"tokenizer: got one of digest {tokenizer}, allowed is {settings.tokenizer}, which "
            f"made the token cache of {settings.dataset}"
        )


def check_splits(training: CacheSettings, validation: CacheSettings) -> None:
    """Raises UserError where the classes of two caches have other names, and so other numbers."""
    names = training.class_names, validation.class_names
    for number, (learned, judged) in enumerate(zip(*names, strict=False)):
        if learned != judged:
            raise UserError(
                f"data.path: got class {shown(judged)} as number {number} of validation, allowed "
                f"is {shown(learned)}, as in training: make both caches of one dataset"
            )


def check_views(settings: CacheSettings, random_views: bool) -> None:
    """Raises UserError where random views are asked for and the cache has one of each image."""
    if random_views and settings.num_views == 1:
        raise UserError(
            "data.random_views: got True, but the token cache holds one view of each image; "
            f"allowed is False, or {AGAIN}"
        )


def to_json(value: Any) -> str:
    return json.dumps(dataclasses.asdict(value), indent=1) + "\n"
