"""What a config leaves open is read off its data."""

import numpy as np
import pytest

from lpd_jax.training.config import read_config
from lpd_jax.training.from_data import fill_in
from tests import tiny
from tests.data import photos


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return photos.write_folder(tmp_path_factory.mktemp("photos"), 4)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "vq", transformer=None)


def config(root, tokenizer, **fields):
    model = {
        "family": "lpd",
        "num_layers": 2,
        "embed_dim": 16,
        "num_heads": 2,
        "grid_size": (0, 0),
        "codebook_size": 0,
        "num_classes": 0,
    }
    data = {"dataset": "folder", "path": str(root), "image_size": 16, "validation_share": 0.2}
    start = {"model": model, "data": data, "tokenizer": str(tokenizer), "batch_size": 64}
    return (
        start | {"num_epochs": 30, "optimizer": {"warmup_steps": 100, "cosine_steps": -1}} | fields
    )


@pytest.mark.devices(8)
def test_classes_codebook_grid_and_steps_come_from_the_data(root, tokenizer):
    given = config(root, tokenizer)
    model, run = read_config(fill_in(given))
    assert (model.num_classes, model.codebook_size, model.grid_size) == (3, 32, (8, 8))
    # A batch is the training set, as far as the 8 devices share it equally: 8 of up to 11 images.
    # So an epoch is about a step; a tenth of them warm up at most.
    assert run.batch_size == 8 and 30 <= run.num_steps <= 41
    warmup, cosine = run.optimizer.warmup_steps, run.optimizer.cosine_steps
    assert (warmup, warmup + cosine) == (run.num_steps // 10, run.num_steps)
    tensor = {"mesh": {"tensor": 8}, "compute": {"accumulate_steps": 3}}
    assert read_config(fill_in(config(root, tokenizer, **tensor)))[1].batch_size == 9
    assert given == config(root, tokenizer)  # the file's own mapping stays as it is
    assert read_config(fill_in(config(root, tokenizer, batch_size=2)))[1].num_steps > 100
    with pytest.raises(ValueError, match="^batch_size: got 0, allowed are"):
        read_config(fill_in(config(root, tokenizer, batch_size=0)))


def test_numbers_of_numpy_are_numbers(root, tokenizer):
    """A batch size of NumPy made a run of one step of it."""
    given = config(root, tokenizer, batch_size=2, mesh={"tensor": 1}, num_epochs=3)
    theirs = config(
        root,
        tokenizer,
        batch_size=np.int64(2),
        mesh={"tensor": np.int32(1)},
        num_epochs=np.int64(3),
        optimizer={"warmup_steps": np.int64(100), "cosine_steps": np.int64(-1)},
    )
    theirs["model"] |= {"num_classes": np.int64(0), "grid_size": np.zeros(2, int)}
    assert read_config(fill_in(theirs)) == read_config(fill_in(given))
    steps = {"num_steps": np.int64(50), "num_epochs": None}
    filled = fill_in(config(root, tokenizer, **steps))
    assert filled["optimizer"]["cosine_steps"] == 45


def test_a_config_that_leaves_nothing_open_is_not_touched():
    whole = {"model": {"family": "lpd", "num_classes": 3}, "num_steps": 5, "data": {"path": "gone"}}
    assert fill_in(whole) == whole
    assert fill_in({"model": "text"}) == {"model": "text"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_steps": 3}, "^num_epochs: got 30 beside num_steps 3, allowed is one of the two"),
        ({"num_epochs": -1}, "^num_epochs: got -1, allowed are numbers above 0"),
        ({"num_epochs": True}, "^num_epochs: got True, allowed are numbers above 0"),
        ({"num_epochs": float("nan")}, "^num_epochs: got nan, allowed are numbers above 0"),
        ({"num_epochs": "many"}, "^num_epochs: got 'many', allowed are numbers above 0"),
        ({"tokenizer": ""}, "^tokenizer: missing"),
        (
            {"data": {"dataset": "folder", "path": "gone", "image_size": 8}},
            "^data.path: got 'gone'",
        ),
    ],
)
def test_what_cannot_be_read_is_named(root, tokenizer, fields, words):
    with pytest.raises(ValueError, match=words):
        fill_in(config(root, tokenizer) | fields)
