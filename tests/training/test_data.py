"""Batches: each example once an epoch, in an order that can be taken up again."""

import json

import numpy as np
import pytest

from lpd_jax.training.data import (
    DataConfig,
    load_dataset,
    training_batches,
    validation_batches,
)

ARRAYS = {"index": np.arange(20), "twice": 2 * np.arange(20)}


def take(batches, count):
    return np.stack([next(batches)["index"] for _ in range(count)])


def test_an_epoch_has_each_example_once_and_the_next_another_order():
    batches = training_batches(ARRAYS, batch_size=5, seed=0)
    epochs = [take(batches, 4).ravel() for _ in range(2)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20)) != list(epoch)
    assert list(epochs[0]) != list(epochs[1])


def test_arrays_stay_together():
    batch = next(training_batches(ARRAYS, batch_size=5, seed=0))
    np.testing.assert_array_equal(batch["twice"], 2 * batch["index"])


def test_the_seed_decides_the_order():
    one, same, other = (take(training_batches(ARRAYS, 5, seed), 4) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("position", [1, 4, 7])  # inside an epoch, at its end, in the second
def test_a_saved_position_is_taken_up(position):
    batches = training_batches(ARRAYS, batch_size=5, seed=0)
    take(batches, position)
    state = json.loads(json.dumps(batches.get_state()))
    rest = take(batches, 5)
    resumed = training_batches(ARRAYS, batch_size=5, seed=0)
    resumed.set_state(state)
    np.testing.assert_array_equal(take(resumed, 5), rest)


def test_validation_is_in_order_and_leaves_out_what_fills_no_batch():
    rows = [batch["index"].tolist() for batch in validation_batches(ARRAYS, 8)]
    assert rows == [list(range(8)), list(range(8, 16))]


def test_an_unknown_dataset_is_refused():
    with pytest.raises(ValueError, match="^data.dataset: got 'imagenet', allowed is 'avatars12'"):
        load_dataset(DataConfig("imagenet"), "train")
