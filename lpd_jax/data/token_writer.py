"""Writes a token cache shard by shard, wherever tokens come from: a kill costs one shard."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import jax
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from jax.experimental import multihost_utils
from tqdm import tqdm

from lpd_jax.data.batches import Share, process_share
from lpd_jax.data.token_cache import (
    INDEX_FILE,
    SETTINGS_FILE,
    UNKNOWN,
    CacheIndex,
    CacheSettings,
    Shard,
    read_json,
    to_json,
)
from lpd_jax.data.token_encoder import ImageBatch
from lpd_jax.runtime.atomic_files import remove_leftovers, replacing_file
from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.locks import writing_to

# One record a chunk, as random access wants it; tokens hardly compress.
WRITER_OPTIONS = "group_size:1,uncompressed"


# Consecutive images with their tokens [B, V, N], and what reads those of a shard.
TokenBatch = tuple[ImageBatch, np.ndarray]
ReadShard = Callable[[range], Iterable[TokenBatch]]


class Exchange(Protocol):
    """Brings files to other processes, where each writes to a folder of its own."""

    def push(self) -> None:
        """Gives what this process wrote since it last did."""

    def pull(self) -> None:
        """Takes what others gave and is not here yet."""


def write_shards(
    folder: pathlib.Path,
    settings: CacheSettings,
    open_tokens: Callable[[], ReadShard],
    verb: str,
    share: Share | None = None,
    exchange: Exchange | None = None,
    field: str = "output",
) -> None:
    """Writes the shards of this process that are not there yet; process 0 ends with the index.

    A cache that is finished is left as it is.

    Args:
        folder: of the cache; may hold shards that an earlier, stopped run wrote.
        settings: what it is to hold.
        open_tokens: gives what reads the tokens of a shard; not called for a finished cache.
        verb: what the progress bar says is done.
        share: this process's part of the shards; None divides over all processes.
        exchange: between the folders of the processes; None: all see the same folder.
        field: what the user calls the folder, or what it lies in, for errors.

    Raises:
        UserError: the folder holds another cache, cannot be written to, is written to by another
            process, or a shard in it is damaged.
    """
    share = share or process_share()
    # The processes of a job write to one folder, each its own shards; the first keeps others out.
    writes = share.index == 0 and not (folder / INDEX_FILE).is_file()
    with writing_to(field, folder) if writes else contextlib.nullcontext():
        prepare_folder(folder, settings, share, field)
        write_missing(folder, settings, open_tokens, verb, share, exchange)


def write_missing(
    folder: pathlib.Path,
    settings: CacheSettings,
    open_tokens: Callable[[], ReadShard],
    verb: str,
    share: Share,
    exchange: Exchange | None,
) -> None:
    """`write_shards` to a folder that is prepared, and that nobody else writes to."""
    wait_for_files("token cache is begun", exchange)
    if (folder / INDEX_FILE).is_file():
        return
    mine = np.array_split(np.arange(settings.num_shards), share.count)[share.index].tolist()
    done = [shard for shard in mine if (folder / settings.shard_file(shard)).is_file()]
    read_shard = open_tokens()
    with progress_bar(verb, settings, mine, done, shows=share.index == 0) as bar:
        for shard in sorted(set(mine) - set(done)):
            write_shard(folder, settings, shard, read_shard(settings.shard_images(shard)), bar)
            if exchange is not None:
                exchange.push()
    wait_for_files("token shards are written", exchange)
    if share.index == 0:
        write_text(folder / INDEX_FILE, to_json(CacheIndex(settings, finished(folder, settings))))
    wait_for_files("token index is written", exchange)


def progress_bar(
    verb: str, settings: CacheSettings, mine: list[int], done: list[int], shows: bool
) -> tqdm:
    """Counts the images of a process, by its shards."""
    counts = {shard: len(settings.shard_images(shard)) for shard in mine}
    return tqdm(
        total=sum(counts.values()),
        initial=sum(counts[shard] for shard in done),
        desc=f"{verb} {settings.dataset.split(',')[0]}",
        unit="image",
        dynamic_ncols=True,
        disable=not shows,
    )


def prepare_folder(
    folder: pathlib.Path, settings: CacheSettings, share: Share, field: str = "output"
) -> None:
    """Makes the folder and says in it what it is to hold; refuses one that holds something else."""
    # Listed before it is looked for: the settings are there before any shard is.
    names = [x.name for x in folder.iterdir()] if folder.is_dir() else []
    file = folder / SETTINGS_FILE
    if file.is_file():
        check_same_settings(folder, settings, field)
    else:
        check_no_other_files(folder, names)
    if share.index == 0 and not file.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(file, to_json(settings))
        except DiskError:
            raise
        except OSError as error:
            raise UserError(
                f"{field}: got {shown_path(folder)}, which cannot be written to ({error.strerror})"
            ) from None


def check_no_other_files(folder: Any, names: Iterable[str]) -> None:
    """Raises UserError where a folder that holds no token cache holds these names."""
    if any(not name.startswith(".") for name in names):
        raise UserError(
            f"output: got {shown_path(folder)}, which holds other files; allowed is a new or an "
            "empty folder, or a token cache to go on with"
        )


def check_same_settings(
    folder: pathlib.Path, settings: CacheSettings, field: str = "output"
) -> None:
    """Raises UserError naming in what the cache in a folder differs from the one asked for."""
    there = vars(read_json(folder / SETTINGS_FILE, CacheSettings))
    # The names of classes follow from the dataset, and may be a thousand.
    passed_over = {"class_names"}
    if there["encode_precision"] == UNKNOWN and (folder / INDEX_FILE).is_file():
        passed_over.add("encode_precision")  # finished before caches stated it
    if not there["contents"] or not settings.contents:  # begun before caches stated them
        passed_over.add("contents")
    differing = [
        f"{name} (there {shown(value)}, here {shown(getattr(settings, name))})"
        for name, value in there.items()
        if name not in passed_over and value != getattr(settings, name)
    ]
    if differing:
        raise UserError(
            f"{field}: got {shown_path(folder)}, which holds another token cache; differing: "
            f"{'; '.join(differing)}; delete that folder to encode these images in its place"
        )


def write_shard(
    folder: pathlib.Path,
    settings: CacheSettings,
    shard: int,
    batches: Iterable[TokenBatch],
    bar: tqdm,
) -> None:
    """One file, under its name only when it is whole."""
    path = folder / settings.shard_file(shard)
    remove_leftovers(path)
    with replacing_file(path, "a shard of the token cache") as temporary:
        writer = ArrayRecordWriter(os.fsencode(temporary), WRITER_OPTIONS)
        try:
            first = settings.shard_images(shard).start
            for batch, tokens_BVN in batches:
                records = np.zeros(len(batch.ids), settings.record_type)
                records["id"], records["label"] = batch.ids, batch.labels
                if len(records):
                    records["tokens"] = tokens_BVN
                for record in records:
                    writer.write(record.tobytes())
                bar.update(batch.last + 1 - first)
                first = batch.last + 1
        finally:
            writer.close()
        flush_to_disk(temporary)


def finished(folder: pathlib.Path, settings: CacheSettings) -> tuple[Shard, ...]:
    """All shards, as they are on disk. Raises UserError for one that is missing or damaged."""
    shards = []
    for i in range(settings.num_shards):
        path = folder / settings.shard_file(i)
        if not path.is_file():
            raise UserError(
                f"output: got no shard {path}; all processes must write to the same folder"
            )
        try:
            reader = ArrayRecordReader(os.fsencode(path))
            count = reader.num_records()
            reader.close()  # says what was wrong
        except RuntimeError:
            raise UserError(
                f"output: got shard {path}, which is damaged; delete it and start again"
            ) from None
        shards.append(Shard(path.name, count, path.stat().st_size))
    return tuple(shards)


def write_text(path: pathlib.Path, text: str) -> None:
    with replacing_file(path, "the description of the token cache") as temporary:
        temporary.write_text(text, encoding="utf-8")
        flush_to_disk(temporary)


def flush_to_disk(path: pathlib.Path) -> None:
    """After it, not even a power cut leaves less of a file than was written."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def wait_for_files(event: str, exchange: Exchange | None) -> None:
    """After it every process sees what all of them have written."""
    if exchange is not None:
        exchange.push()
    wait_for_all(event)
    if exchange is not None:
        exchange.pull()


def wait_for_all(event: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(event)
