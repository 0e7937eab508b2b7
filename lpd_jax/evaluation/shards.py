"""Features of pictures on disk, shard by shard: what is finished is not done again.

    FOLDER/settings.json          what the pictures and their features depend on
    FOLDER/shards/00003-of-00050.npz   features of the pictures of shard 3

Each file appears whole or not at all, so a kill costs the shard that was being made. Processes of
one job take shards in turn; the folder must be one that all of them see.

Letters: B pictures of a shard, F features.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from lpd_jax.evaluation.gaussian_files import DAMAGE
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.picture_sets import PictureSet
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.atomic_files import remove_leftovers, replacing_file
from lpd_jax.runtime.buckets import is_bucket, local_copy
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.json_files import read_json

SETTINGS_FILE, SHARDS_FOLDER = "settings.json", "shards"
NAMES = ("model", "tokenizer")  # what users call weights, whose digests stand beside it
SHARD_SIZE = 500
MOST_PER_SHARD = 10**5

# (number of the first picture, uint8 [B, H, W, 3]) of pictures as they are made
Watch = Callable[[int, np.ndarray], None]


class Shards(NamedTuple):
    """Where features lie, and how pictures are cut into shards."""

    folder: Any
    num_images: int
    size: int  # of a shard
    widths: dict[str, int]  # of the arrays of a shard: features by tap, and the pictures' extras

    @property
    def number(self) -> int:
        return -(-self.num_images // self.size)

    def rows(self, shard: int) -> range:
        """The pictures of a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.num_images))

    def file(self, shard: int) -> Any:
        return self.folder / SHARDS_FOLDER / f"{shard:05d}-of-{self.number:05d}.npz"

    def read(self, shard: int) -> dict[str, np.ndarray] | None:
        """Name -> float32 `[B, F]`; None where the shard is not there, or not whole."""
        file = self.file(shard)
        if not file.is_file():
            return None
        try:
            with (
                local_copy(file.parent, [file.name]) as folder,
                open(folder / file.name, "rb") as opened,
                np.load(opened) as arrays,
            ):
                found = {name: arrays[name] for name in self.widths}
        except DAMAGE:
            return None
        count = len(self.rows(shard))
        whole = all(found[name].shape == (count, x) for name, x in self.widths.items())
        return found if whole else None


def open_shards(
    folder: Any, pictures: PictureSet, judge: Judge, size: int = SHARD_SIZE, field: str = "output"
) -> Shards:
    """Shards of these pictures in a folder, new or begun before with the same settings.

    Raises:
        UserError: the folder holds features of other pictures, or by another network; the first
            setting that differs is named.
    """
    check_whole("shard_size", size, 1, MOST_PER_SHARD)
    settings = {**pictures.settings(), "network": judge.settings(), "shard_size": size}
    settings = json.loads(json.dumps(settings))
    widths = {**judge.widths, **pictures.extras}
    shards = Shards(folder, pictures.count, size, widths)
    file = folder / SETTINGS_FILE
    if jax.process_index() == 0 and not file.is_file():
        if not is_bucket(folder):
            (folder / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
        with replacing_file(file, "the settings") as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    wait_for_all("settings")
    if not file.is_file():
        raise UserError(
            f"{field}: got {shown_path(folder)}, allowed is a folder that all processes see"
        )
    check_same(without_names(read_settings(file, field)), without_names(settings), file, field)
    return shards


def without_names(settings: Any) -> Any:
    """What pictures depend on: the same weights may be called `DIR` today and `DIR/` tomorrow."""
    if not isinstance(settings, dict):
        return settings
    return {name: value for name, value in settings.items() if name not in NAMES}


def read_settings(file: Any, field: str) -> Any:
    try:
        return read_json(file)
    except ValueError as error:
        raise UserError(f"{field}: got {shown_path(file)}, which is damaged ({error})") from None


def check_same(found: Any, wanted: Any, file: Any, field: str) -> None:
    """Raises UserError for the first setting in which a folder's features are others."""
    if found == wanted:
        return
    name, there, here = next(differences(found, wanted, ""))
    raise UserError(
        f"{field}: got {shown_path(file.parent)}, which holds pictures of {name} {shown(there)}, "
        f"allowed with {shown(here)} is another folder"
    )


def differences(found: Any, wanted: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """(name, found, wanted) of each setting that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(x for x in found if x not in wanted)]:
            path = f"{name}.{key}" if name else str(key)
            yield from differences(found.get(key), wanted.get(key), path)
    elif found != wanted:
        yield name or "settings", found, wanted


def fill_shards(
    shards: Shards,
    pictures: PictureSet,
    judge: Judge,
    watch: Watch | None = None,
    seen: Callable[[range], bool] = lambda rows: True,
) -> int:
    """Makes what is not there yet; gives how many shards this process has made.

    Args:
        watch: shown the pictures as they are made, before their shard is finished.
        seen: whether these pictures need not be shown again.
    """
    mine = range(jax.process_index(), shards.number, jax.process_count())
    left = [shard for shard in mine if shards.read(shard) is None or not seen(shards.rows(shard))]
    total = sum(len(shards.rows(shard)) for shard in left)
    # None: shown where standard error is a terminal.
    with tqdm(total=total, unit="picture", disable=True if not total else None) as bar:
        for shard in left:
            write_shard(shards, shard, features_of(shards, shard, pictures, judge, watch, bar))
    wait_for_all("shards")
    return len(left)


def features_of(
    shards: Shards, shard: int, pictures: PictureSet, judge: Judge, watch: Watch | None, bar: tqdm
) -> dict[str, np.ndarray]:
    """Name -> float32 `[B, F]` of the pictures of a shard."""
    rows, done = shards.rows(shard), 0
    found = {name: np.empty((len(rows), x), np.float32) for name, x in shards.widths.items()}
    for images_BHWC, extras in pictures.measured(rows):
        for name, values_BF in {**judge.taps(images_BHWC), **extras}.items():
            found[name][done : done + len(images_BHWC)] = values_BF
        if watch is not None:
            watch(rows.start + done, images_BHWC)
        done += len(images_BHWC)
        bar.update(len(images_BHWC))
    if done != len(rows):
        raise UserError(f"pictures: got {done} of shard {shard}, allowed are its {len(rows)}")
    return found


def write_shard(shards: Shards, shard: int, found: Mapping[str, np.ndarray]) -> None:
    file = shards.file(shard)
    if not is_bucket(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(file)
    with replacing_file(file, "a shard") as temporary, open(temporary, "wb") as opened:
        np.savez(opened, **dict[str, Any](found))


def finished_shards(shards: Shards) -> Iterator[dict[str, np.ndarray]]:
    """Name -> float32 `[B, F]` of every shard, in order, once all are filled."""
    for shard in range(shards.number):
        found = shards.read(shard)
        if found is None:
            raise UserError(f"output: got {shown_path(shards.folder)}, which lost shard {shard}")
        yield found


def wait_for_all(what: str) -> None:
    """Until every process of the job is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"evaluation: {what}")
