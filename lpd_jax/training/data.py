"""Batches for training: shuffled, sharded by process, with a position that can be saved."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import grain
import jax
import numpy as np

from lpd_jax.bundled import load_avatars


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images to train on."""

    dataset: str = "avatars12"


def load_dataset(config: DataConfig, split: str) -> dict[str, np.ndarray]:
    """Images uint8 `[B, H, W, 3]` and labels int32 `[B]` of a split, as a dictionary.

    Raises:
        ValueError: an unknown dataset.
    """
    if config.dataset != "avatars12":
        raise ValueError(f"data.dataset: got {config.dataset!r}, allowed is 'avatars12'")
    images, labels = load_avatars(split)
    return {"images": images, "labels": labels}


class Records:
    """Examples by index, as grain wants them, over arrays of equal length."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = dict(arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}


def training_batches(arrays: Mapping[str, np.ndarray], batch_size: int, seed: int) -> Any:
    """Endless shuffled batches of this process's share; `get_state` and `set_state` resume them.

    Args:
        arrays: examples along the first axis of each.
        batch_size: global batch; each process yields its part.
        seed: of the shuffle, new in each epoch.
    """
    per_process = batch_size // jax.process_count()
    dataset = grain.MapDataset.source(Records(arrays)).seed(seed).shuffle()
    dataset = dataset[jax.process_index() :: jax.process_count()].repeat()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2 * per_process)
    return iter(dataset.to_iter_dataset(options).batch(per_process, drop_remainder=True))


def validation_batches(
    arrays: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Each example once, in order; those that fill no batch at the end are left out."""
    count = len(next(iter(arrays.values()))) // batch_size
    for i in range(count):
        rows = slice(i * batch_size, (i + 1) * batch_size)
        yield {name: array[rows] for name, array in arrays.items()}


def to_devices(batch: Mapping[str, np.ndarray], sharding: jax.sharding.Sharding) -> dict:
    """Puts this process's part of a batch onto its devices."""
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(array))
        for name, array in batch.items()
    }
