"""Batches: a pure function of the step, whatever the number of processes and the restarts."""

import json
from typing import NamedTuple

import jax
import numpy as np
import pytest

from lpd_jax.data.batches import (
    ArraySource,
    DataConfig,
    Share,
    TrainingBatches,
    batch_rows,
    consecutive_rows,
    to_devices,
    validation_batches,
)
from lpd_jax.runtime.config_fields import from_mapping
from lpd_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh

SOURCE = ArraySource({"index": np.arange(20), "twice": 2 * np.arange(20)})


class Views(ArraySource):
    """View 1 is the negative of the record."""

    num_views = 2

    def view(self, index, view):
        return {"index": self[index]["index"] * (1 - 2 * view)}


def part(batch_size, index, count):
    return consecutive_rows(batch_size, Share(index, count))


def take(batches, count):
    return np.stack([next(batches)["index"] for _ in range(count)])


def test_an_epoch_has_each_example_once_and_the_next_another_order():
    batches = TrainingBatches(SOURCE, batch_size=5, seed=0)
    epochs = [take(batches, 4).ravel() for _ in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20)) != list(epoch)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_no_example_is_lost_where_epochs_are_no_whole_number_of_batches():
    seen = take(TrainingBatches(SOURCE, batch_size=6, seed=0), 10).ravel()
    for epoch in range(3):
        assert sorted(seen[20 * epoch : 20 * (epoch + 1)]) == list(range(20))


def test_arrays_stay_together():
    batch = next(TrainingBatches(SOURCE, batch_size=5, seed=0))
    np.testing.assert_array_equal(batch["twice"], 2 * batch["index"])


def test_the_seed_decides_the_order():
    one, same, other = (take(TrainingBatches(SOURCE, 5, seed), 4) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("num_threads", [0, 3])
@pytest.mark.parametrize("position", [1, 4, 7])  # inside an epoch, at its end, in the second
def test_a_saved_position_is_taken_up(position, num_threads):
    batches = TrainingBatches(SOURCE, 5, 0, num_threads=num_threads)
    take(batches, position)
    state = json.loads(json.dumps(batches.get_state()))
    assert state == {"step": position}
    rest = take(batches, 5)
    resumed = TrainingBatches(SOURCE, 5, 0, num_threads=1)
    resumed.set_state(state)
    np.testing.assert_array_equal(take(resumed, 5), rest)
    batches.set_state(state)  # back, in the midst of reading ahead
    np.testing.assert_array_equal(take(batches, 5), rest)
    assert batches.get_state() == {"step": position + 5}


@pytest.mark.parametrize("count", [2, 3, 6])
def test_parts_of_processes_are_the_batches_of_one(count):
    whole = TrainingBatches(SOURCE, 6, 0, random_views=False)
    parts = [TrainingBatches(SOURCE, 6, 0, rows=part(6, i, count)) for i in range(count)]
    expected = take(whole, 9)
    got = np.concatenate([take(batches, 4) for batches in parts], axis=1)
    np.testing.assert_array_equal(got, expected[:4])
    # And another number of processes goes on where they stopped.
    resumed = [TrainingBatches(SOURCE, 6, 0, rows=part(6, i, 2)) for i in range(2)]
    for batches in resumed:
        batches.set_state(parts[0].get_state())
    got = np.concatenate([take(batches, 5) for batches in resumed], axis=1)
    np.testing.assert_array_equal(got, expected[4:])


def test_views_are_drawn_anew_each_epoch_and_belong_to_the_step():
    source = Views({"index": np.arange(1, 41)})
    batches = TrainingBatches(source, 8, 0, random_views=True)
    epochs = [take(batches, 5).ravel() for _ in range(2)]
    mirrored = [{abs(x) for x in epoch if x < 0} for epoch in epochs]
    assert all(8 <= len(which) <= 32 for which in mirrored) and mirrored[0] != mirrored[1]
    half = TrainingBatches(source, 8, 0, random_views=True, rows=part(8, 1, 2))
    half.set_state({"step": 5})
    np.testing.assert_array_equal(take(half, 5), epochs[1].reshape(5, 8)[:, 4:])
    plain = take(TrainingBatches(source, 8, 0), 5).ravel()
    np.testing.assert_array_equal(plain, np.abs(epochs[0]))


@pytest.mark.parametrize("state", [{"next_index": 3}, {"step": -1}, {"step": "3"}, {}])
def test_what_is_no_position_is_refused(state):
    with pytest.raises(ValueError, match="^data position: got .*, allowed is"):
        TrainingBatches(SOURCE, 5, 0).set_state(state)


def test_validation_is_in_order_and_leaves_out_evenly_what_fills_no_batch():
    rows = [batch["index"].tolist() for batch in validation_batches(SOURCE, 8)]
    assert rows == [[0, 1, 2, 3, 5, 6, 7, 8], [10, 11, 12, 13, 15, 16, 17, 18]]
    half = [x["index"].tolist() for x in validation_batches(SOURCE, 8, rows=part(8, 1, 2))]
    assert half == [[5, 6, 7, 8], [15, 16, 17, 18]]
    # Of 5 batches of 4, neither process has one more than the other.
    halves = [list(validation_batches(SOURCE, 4, rows=part(4, i, 2))) for i in (0, 1)]
    assert [len(batches) for batches in halves] == [5, 5]


def test_a_batch_that_the_processes_cannot_part_is_refused():
    with pytest.raises(ValueError, match="^batch_size: got 5, allowed are multiples of the 2 part"):
        TrainingBatches(SOURCE, 5, 0, rows=part(5, 0, 2))


def test_one_process_reads_the_whole_batch_on_any_mesh():
    for mesh_config in (MeshConfig(), MeshConfig(fsdp=2), MeshConfig(tensor=8)):
        sharding = batch_sharding(make_mesh(mesh_config))
        np.testing.assert_array_equal(batch_rows(sharding, 16), np.arange(16))
        batch = next(TrainingBatches(SOURCE, 16, 0, rows=batch_rows(sharding, 16)))
        array = to_devices(batch, sharding)["index"]
        assert isinstance(array, jax.Array) and array.sharding == sharding
        np.testing.assert_array_equal(array, batch["index"])


class Device(NamedTuple):
    process_index: int
    id: int


class SomeProcesses:
    """A sharding of a batch: who has which rows, a device each; process 0 is this one."""

    def __init__(self, *rows_of_processes):
        self.devices = {
            Device(index, number): (slice(*span),)
            for index, spans in enumerate(rows_of_processes)
            for number, span in enumerate(spans)
        }

    def devices_indices_map(self, shape):
        return self.devices


def test_a_process_reads_the_rows_that_its_devices_hold():
    one_behind_another = SomeProcesses([(4, 6), (6, 8)], [(0, 2), (2, 4)])
    assert batch_rows(one_behind_another, 8).tolist() == [4, 5, 6, 7]
    # A host of a TPU has two chips in each of two rows of its slice.
    squares = SomeProcesses([(4, 6), (0, 2)], [(2, 4), (6, 8)])
    assert batch_rows(squares, 8).tolist() == [0, 1, 4, 5]
    batches = TrainingBatches(SOURCE, 8, 0, rows=batch_rows(squares, 8))
    whole = take(TrainingBatches(SOURCE, 8, 0), 4)
    np.testing.assert_array_equal(take(batches, 4), whole[:, [0, 1, 4, 5]])
    # Devices that split one model among them.
    assert batch_rows(SomeProcesses([(0, 4)] * 2, [(0, 4)] * 2), 4).tolist() == [0, 1, 2, 3]
    assert batch_rows(SomeProcesses([(None, None)]), 4).tolist() == [0, 1, 2, 3]


def test_processes_that_share_some_of_their_rows_are_refused():
    with pytest.raises(ValueError, match="^mesh: got one that gives process 0 rows .*none in comm"):
        batch_rows(SomeProcesses([(0, 2), (2, 4)], [(2, 4), (4, 6)]), 6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dataset": "imagenet"},
            "data.dataset: got 'imagenet', allowed are avatars12, moving_avatars, tfds",
        ),
        ({"bad_images": "no"}, "data.bad_images: got 'no', allowed are fail, skip"),
        ({"image_size": -1}, "data.image_size: got -1, allowed is 0 or more"),
        ({"num_threads": -1}, "data.num_threads: got -1, allowed is 0 or more"),
        ({"num_threads": 1025}, "data.num_threads: got 1025, allowed is 1024 at most"),
        ({"image_size": 65537}, "data.image_size: got 65537, allowed is 65536 at most"),
        ({"dataset": "tfds", "image_size": 64}, "data.name: missing; dataset 'tfds' needs it"),
        ({"dataset": "tfds", "name": "x"}, "data.image_size: missing; dataset 'tfds' needs it"),
        ({"dataset": "folder", "path": "x"}, "data.image_size: missing; dataset 'folder' needs"),
        ({"dataset": "tokens"}, "data.path: missing; dataset 'tokens' needs it"),
        ({"path": "x"}, "data.path: got 'x', allowed is none with dataset 'avatars12'"),
        ({"path": 3}, "data.path: got 3, allowed is a str"),
    ],
)
def test_a_wrong_field_is_named(fields, message):
    with pytest.raises(ValueError) as error:
        from_mapping(DataConfig, fields, "data")
    assert str(error.value).startswith(message)
