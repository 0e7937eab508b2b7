"""Batches for training: a pure function of the step, sharded by process.

A source holds records by index. Batch k of a run has the same records whatever the number of
processes, so the position in the data is one number: how many batches were taken.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import grain
import jax
import numpy as np

from lpd_jax.data.data_config import MOST_THREADS
from lpd_jax.data.data_config import DataConfig as DataConfig  # its home until there was one
from lpd_jax.runtime.arguments import as_array, check_flag, check_whole
from lpd_jax.runtime.errors import UserError, listed, shown, shown_name

LARGEST_BATCH = 2**24
# Names of one record's arrays, and of many; others, such as tokens, are many already.
PLURAL = {"image": "images", "label": "labels"}


class Source(Protocol):
    """Records by index. View 0 of a record is the record itself, others show it differently."""

    num_classes: int
    class_names: tuple[str, ...]  # one a class, or none
    num_views: int

    def __len__(self) -> int: ...

    def view(self, index: int, view: int) -> dict[str, np.ndarray]: ...


class ArraySource:
    """Records over arrays in memory, of equal length."""

    num_views = 1
    class_names: tuple[str, ...] = ()

    def __init__(self, arrays: Mapping[str, np.ndarray], num_classes: int = 0):
        if not isinstance(arrays, Mapping) or not arrays:
            raise UserError(f"arrays: got {shown(arrays)}, allowed is a mapping of names to arrays")
        self.arrays = {
            name: as_array(f"arrays: {shown_name(name)}", array, "is an array of numbers")
            for name, array in arrays.items()
        }
        lengths = {array.shape[:1] for array in self.arrays.values()}
        if len(lengths) != 1 or () in lengths:
            raise UserError(f"arrays: got lengths {listed(lengths)}, allowed is one for all")
        self.num_classes = check_whole("num_classes", num_classes, 0)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}

    def view(self, index: int, view: int) -> dict[str, np.ndarray]:
        del view
        return self[index]


@dataclasses.dataclass(frozen=True)
class Share:
    """Which of equal, consecutive parts of each global batch a process reads."""

    index: int
    count: int


def process_share() -> Share:
    return Share(jax.process_index(), jax.process_count())


def batch_rows(sharding: jax.sharding.Sharding, batch_size: int) -> np.ndarray:
    """Numbers of the rows of a global batch that this process's devices hold, ascending.

    They need not follow one another: a TPU's host holds a square of the chips of its slice.
    Processes whose devices split one model among them hold the same rows.

    Raises:
        UserError: processes that would share some of their rows, but not all.
    """
    spans: dict[int, set[tuple[int, int]]] = collections.defaultdict(set)
    device: Any  # jax.Device, of which JAX tells type checkers nothing
    for device, (rows, *_) in sharding.devices_indices_map((batch_size,)).items():
        start, stop, _ = rows.indices(batch_size)
        spans[device.process_index].add((start, stop))
    own = spans[jax.process_index()]
    if any(len(other) != len(own) or other & own not in (set(), own) for other in spans.values()):
        raise UserError(
            f"mesh: got one that gives process {jax.process_index()} rows {listed(sorted(own))} of "
            f"a batch of {batch_size}, some of which another process has too, allowed are meshes "
            "whose processes have the same rows, or none in common"
        )
    return np.concatenate([np.arange(*span) for span in sorted(own)])


def consecutive_rows(batch_size: int, share: Share) -> np.ndarray:
    """The rows of a process whose part of each batch is one piece.

    Raises:
        UserError: a batch that has no such parts.
    """
    if batch_size % share.count:
        raise UserError(
            f"batch_size: got {batch_size}, allowed are multiples of the {share.count} parts that "
            "the processes read"
        )
    rows = batch_size // share.count
    return np.arange(rows) + share.index * rows


class TrainingBatches:
    """Endless shuffled batches; each epoch has every record once, in an order of its own.

    Batch k is the same after any restart, and for any number of processes, of which each yields the
    rows that are its own.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        *,
        random_views: bool = False,
        num_threads: int = 1,
        rows: np.ndarray | None = None,
    ):
        """Args:
        source: the records.
        batch_size: global; each process yields its part.
        seed: of the order and the views, 0 to 2**32 - 1.
        random_views: a random view of each record, else view 0.
        num_threads: that read ahead, one batch each; 0 reads when asked.
        rows: of each batch that this process yields; None divides them over all processes.
        """
        check_reading(source, batch_size, num_threads)
        check_whole("seed", seed, 0, 2**32 - 1)
        check_flag("random_views", random_views)
        check_whole("source: its length", len(source), 1)
        views = source.num_views if random_views else 1

        def read(index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
            return source.view(index, int(rng.integers(views)))

        records = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
        self.batches = rows_of_batches(records.random_map(read), batch_size, rows)
        self.num_threads, self.step = num_threads, 0
        self.iterator = read_ahead(self.batches, num_threads)

    def __iter__(self) -> "TrainingBatches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self.iterator)
        self.step += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """The position: `{"step": batches taken}`, whatever the number of processes."""
        return {"step": self.step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on after a position. Raises UserError for what is none."""
        step = state.get("step")
        if not isinstance(step, int) or step < 0 or len(state) != 1:
            raise UserError(f'data position: got {dict(state)}, allowed is {{"step": 0 or more}}')
        self.close()
        self.step = step
        self.iterator = read_ahead(self.batches[step:], self.num_threads)

    def close(self) -> None:
        """Ends the threads that read ahead."""
        self.iterator.close()


def validation_batches(
    source: Source, batch_size: int, *, num_threads: int = 1, rows: np.ndarray | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Each record once, in order, view 0; what fills no global batch is left out, evenly of all.

    Records of a folder come class by class: the last ones would be those of some classes.

    Args:
        source: the records.
        batch_size: global; each process yields its part.
        num_threads: that read ahead, one batch each; 0 reads when asked.
        rows: of each batch that this process yields; None divides them over all processes.
    """
    check_reading(source, batch_size, num_threads)
    count, whole = len(source), len(source) // batch_size * batch_size
    records = grain.MapDataset.range(whole).map(lambda i: source.view(i * count // whole, 0))
    batches = rows_of_batches(records, batch_size, rows)
    with contextlib.closing(read_ahead(batches, num_threads)) as iterator:
        yield from iterator


def check_reading(source: Any, batch_size: int, num_threads: int) -> None:
    """Raises UserError for what cannot be read in batches."""
    if not hasattr(source, "view") or not hasattr(source, "num_views"):
        raise UserError(f"source: got {shown(source)}, allowed is a Source, such as ArraySource")
    check_whole("batch_size", batch_size, 1, LARGEST_BATCH)
    check_whole("num_threads", num_threads, 0, MOST_THREADS)


def rows_of_batches(records: Any, batch_size: int, rows: np.ndarray | None) -> Any:
    """A grain MapDataset of some rows of each whole batch, from one of records."""
    own = consecutive_rows(batch_size, process_share()) if rows is None else rows

    def read(batch: int) -> dict[str, np.ndarray]:
        return stack_records([records[batch * batch_size + int(row)] for row in own])

    return grain.MapDataset.range(len(records) // batch_size).map(read)


def stack_records(records: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """[{"image": [H, W, C], "label": []}, ...] -> {"images": [B, H, W, C], "labels": [B]}."""
    return {
        PLURAL.get(name, name): np.stack([record[name] for record in records])
        for name in records[0]
    }


def read_ahead(batches: Any, num_threads: int) -> Any:
    """Iterator over a grain MapDataset; each thread makes one batch at a time."""
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    return iter(batches.to_iter_dataset(options))


def to_devices(batch: Mapping[str, np.ndarray], sharding: jax.sharding.Sharding) -> dict:
    """Puts this process's part of a batch onto its devices."""
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(array))
        for name, array in batch.items()
    }
