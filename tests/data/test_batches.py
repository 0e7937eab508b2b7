"""Batches: a pure function of the step, whatever the number of processes and the restarts."""

import json

import jax
import numpy as np
import pytest

from lpd_jax.data.batches import (
    ArraySource,
    DataConfig,
    Share,
    TrainingBatches,
    batch_share,
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
    parts = [TrainingBatches(SOURCE, 6, 0, share=Share(i, count)) for i in range(count)]
    expected = take(whole, 9)
    got = np.concatenate([take(part, 4) for part in parts], axis=1)
    np.testing.assert_array_equal(got, expected[:4])
    # And another number of processes goes on where they stopped.
    resumed = [TrainingBatches(SOURCE, 6, 0, share=Share(i, 2)) for i in range(2)]
    for part in resumed:
        part.set_state(parts[0].get_state())
    got = np.concatenate([take(part, 5) for part in resumed], axis=1)
    np.testing.assert_array_equal(got, expected[4:])


def test_views_are_drawn_anew_each_epoch_and_belong_to_the_step():
    source = Views({"index": np.arange(1, 41)})
    batches = TrainingBatches(source, 8, 0, random_views=True)
    epochs = [take(batches, 5).ravel() for _ in range(2)]
    mirrored = [{abs(x) for x in epoch if x < 0} for epoch in epochs]
    assert all(8 <= len(which) <= 32 for which in mirrored) and mirrored[0] != mirrored[1]
    part = TrainingBatches(source, 8, 0, random_views=True, share=Share(1, 2))
    part.set_state({"step": 5})
    np.testing.assert_array_equal(take(part, 5), epochs[1].reshape(5, 8)[:, 4:])
    plain = take(TrainingBatches(source, 8, 0), 5).ravel()
    np.testing.assert_array_equal(plain, np.abs(epochs[0]))


@pytest.mark.parametrize("state", [{"next_index": 3}, {"step": -1}, {"step": "3"}, {}])
def test_what_is_no_position_is_refused(state):
    with pytest.raises(ValueError, match="^data position: got .*, allowed is"):
        TrainingBatches(SOURCE, 5, 0).set_state(state)


def test_validation_is_in_order_and_leaves_out_what_fills_no_batch():
    rows = [batch["index"].tolist() for batch in validation_batches(SOURCE, 8)]
    assert rows == [list(range(8)), list(range(8, 16))]
    part = [x["index"].tolist() for x in validation_batches(SOURCE, 8, share=Share(1, 2))]
    assert part == [[4, 5, 6, 7], [12, 13, 14, 15]]
    # Of 5 batches of 4, neither process has one more than the other.
    assert [len(list(validation_batches(SOURCE, 4, share=Share(i, 2)))) for i in (0, 1)] == [5, 5]


def test_a_batch_that_the_processes_cannot_part_is_refused():
    with pytest.raises(ValueError, match="^batch_size: got 5, allowed are multiples of the 2 part"):
        TrainingBatches(SOURCE, 5, 0, share=Share(0, 2))


def test_one_process_reads_the_whole_batch_on_any_mesh():
    for mesh_config in (MeshConfig(), MeshConfig(fsdp=2), MeshConfig(tensor=8)):
        sharding = batch_sharding(make_mesh(mesh_config))
        assert batch_share(sharding, 16) == Share(0, 1)
        batch = next(TrainingBatches(SOURCE, 16, 0, share=batch_share(sharding, 16)))
        array = to_devices(batch, sharding)["index"]
        assert isinstance(array, jax.Array) and array.sharding == sharding
        np.testing.assert_array_equal(array, batch["index"])


class SomeRows:
    """A sharding as one of several processes sees it."""

    def __init__(self, *spans):
        self.spans = spans

    def addressable_devices_indices_map(self, shape):
        return {i: (slice(*span),) for i, span in enumerate(self.spans)}


def test_processes_that_split_a_model_share_the_rows_of_a_batch():
    assert batch_share(SomeRows((8, 12), (12, 16)), 16) == Share(1, 2)
    assert batch_share(SomeRows((4, 8), (4, 8)), 16) == Share(1, 4)
    for rows in ([(0, 4), (8, 12)], [(2, 6)]):
        with pytest.raises(ValueError, match="^mesh: .*consecutive, equal parts"):
            batch_share(SomeRows(*rows), 16)


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
