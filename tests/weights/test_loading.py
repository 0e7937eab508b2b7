"""Weights from a model directory or a run: what fits, what is resized, what is refused."""

import dataclasses
import pathlib

import chex
import numpy as np
import pytest

from lpd_jax.models.family import config_to_dict
from lpd_jax.models.video_tokenizer import VideoConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig, config_to_json
from lpd_jax.weights.checkpoint import Checkpoints
from lpd_jax.weights.loading import initial_params, load_weights
from lpd_jax.weights.model_directory import save_model_directory
from tests import tiny
from tests.buckets import folder_buckets

LARGER = dataclasses.replace(tiny.LPD, grid_size=(8, 6), dropout_rate=0.3, label_drop_rate=0.0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return str(tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of the tiny LPD."""
    folder = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(folder / "checkpoints")
    config = config_to_json(tiny.LPD, TrainConfig(num_steps=1, batch_size=1))
    checkpoints.save(1, {"params": tiny.random_params(tiny.LPD, seed=5)}, {}, config)
    checkpoints.close()
    return str(folder)


def test_a_run_and_a_model_directory_are_read_alike(directory, workdir):
    for path, seed in ((directory, 0), (workdir, 5)):
        config, params = load_weights(path, "transformer", "init_from")
        assert config == tiny.LPD
        chex.assert_trees_all_equal(params, tiny.random_params(tiny.LPD, seed=seed))
    assert load_weights(directory, "tokenizer", "tokenizer").config == tiny.VQ


@pytest.mark.parametrize("inside", ["checkpoints", "checkpoints/1"])
def test_of_a_path_inside_of_a_run_the_run_is_named(workdir, inside):
    path = pathlib.Path(workdir) / inside
    words = f"^init_from: got '{path}', which is neither; .*, such as '{workdir}'$"
    with pytest.raises(UserError, match=words):
        load_weights(str(path), "transformer", "init_from")


def test_of_a_file_of_a_model_directory_the_directory_is_named(directory):
    with pytest.raises(UserError, match=f"which is neither; .*, such as '{directory}'$"):
        load_weights(f"{directory}/tokenizer.safetensors", "tokenizer", "tokenizer")
    with pytest.raises(UserError, match="holds a tokenizer$"):
        load_weights(f"{directory}/nowhere", "tokenizer", "tokenizer")


def test_a_bundled_model_is_found_by_its_name_wherever_a_command_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()  # somebody's data
    for name, there in (("avatars12", VQConfig), ("clips", VideoConfig)):
        assert isinstance(load_weights(name, "tokenizer", "tokenizer").config, there)
    tiny.write_model_directory(tmp_path / "clips")  # somebody's model
    assert load_weights("clips", "tokenizer", "tokenizer").config == tiny.VQ


def test_of_a_run_that_was_started_in_a_model_directory_the_run_counts(tmp_path):
    """Its export gave the model that was there before."""
    tiny.write_model_directory(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert load_weights(str(tmp_path), "transformer", "init_from").config == tiny.LPD
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    config = config_to_json(tiny.LPD, TrainConfig(num_steps=1, batch_size=1))
    newest = tiny.random_params(tiny.LPD, seed=5)
    checkpoints.save(1, {"params": newest}, {}, config)
    checkpoints.close()
    params = load_weights(str(tmp_path), "transformer", "init_from").params
    chex.assert_trees_all_equal(params, newest)
    # Its tokenizer may be the directory's.
    assert load_weights(str(tmp_path), "tokenizer", "tokenizer").config == tiny.VQ


def test_a_bucket_is_read_like_a_folder(directory, workdir):
    """Both of them, by the names that they would have in buckets called `models` and `run`."""
    for path, seed in ((directory, 0), (workdir, 5)):
        folder = pathlib.Path(path)
        with folder_buckets(folder.parent.parent):
            bucket = f"gs://{folder.parent.name}/{folder.name}"
            config, params = load_weights(bucket, "transformer", "init_from")
        assert config == tiny.LPD
        chex.assert_trees_all_equal(params, tiny.random_params(tiny.LPD, seed=seed))


def test_a_damaged_model_directory_of_a_bucket_is_named(tmp_path):
    tiny.write_model_directory(tmp_path / "bucket" / "tiny")
    (tmp_path / "bucket" / "tiny" / "model.safetensors").write_bytes(b"short")
    with (
        folder_buckets(tmp_path),
        pytest.raises(
            UserError, match="^gs://bucket/tiny/model.safetensors: got 5 bytes that are trunc"
        ),
    ):
        load_weights("gs://bucket/tiny", "transformer", "init_from")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "tokenizer: missing; allowed is a model directory or a workdir that holds a tok"),
        ("nowhere", "tokenizer: got 'nowhere', which is neither; allowed is a model directory"),
        ("{workdir}", "tokenizer: got '{workdir}', which holds no tokenizer; allowed is"),
    ],
)
def test_a_folder_without_the_model_is_refused(workdir, path, message):
    with pytest.raises(ValueError) as error:
        load_weights(path.format(workdir=workdir), "tokenizer", "tokenizer")
    assert str(error.value).startswith(message.format(workdir=workdir))


def test_training_starts_from_the_family_it_trains(directory):
    for model, seed in ((tiny.LPD, 0), (tiny.VQ, 1)):
        params = initial_params(directory, model)
        chex.assert_trees_all_equal(params, tiny.random_params(model, seed=seed))


def test_only_the_position_table_is_resized_to_another_grid(directory):
    params, source = initial_params(directory, LARGER), tiny.random_params(tiny.LPD)
    table, small = params.pop("position_embed"), source.pop("position_embed")
    chex.assert_trees_all_equal(params, source)
    assert table.shape == (8 * 6 + 1, 16)
    np.testing.assert_array_equal(table[0], small[0])  # the class slot
    # Bicubic resizing keeps the mean roughly, and is no copy of the first rows.
    assert not np.allclose(table[1:17], small[1:])
    np.testing.assert_allclose(table[1:].mean(0), small[1:].mean(0), atol=0.2)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_another_number_of_classes_has_a_new_table(directory, num_classes):
    model, lines = dataclasses.replace(tiny.LPD, num_classes=num_classes), []
    params = initial_params(directory, model, seed=3, tell=lines.append)
    source = tiny.random_params(tiny.LPD)
    assert params["class_embed"].shape == (num_classes, 16)
    for name in ("class_embed", "null_class_embed"):
        table, _ = params.pop(name), source.pop(name)
        assert 0.01 < table.std() < 0.03  # as a fresh one
    chex.assert_trees_all_equal(params, source)
    assert lines == [
        f"init_from: {directory}: a new class table for {num_classes} classes (there 3), all other "
        "weights are kept"
    ]


def test_other_classes_of_the_same_number_have_a_new_table_too(tmp_path):
    """Its rows follow from the seed; of PAR the row of no class is among them."""
    path = str(tiny.write_model_directory(tmp_path / "par", transformer=tiny.PAR))
    kept, lines = initial_params(path, tiny.PAR, tell=lines_of_no_use), []
    first, again, other = (
        initial_params(path, tiny.PAR, new_classes=True, seed=seed, tell=lines.append)
        for seed in (1, 1, 2)
    )
    chex.assert_trees_all_equal(first, again)
    tables = [params.pop("class_embed") for params in (kept, first, other)]
    chex.assert_trees_all_equal(kept, {name: first[name] for name in kept}, other)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert tables[a].shape == (4, 16) and not np.isclose(tables[a], tables[b]).all(axis=1).any()
    assert len(lines) == 3


def lines_of_no_use(line):
    raise AssertionError(line)


def test_a_tokenizer_has_no_classes(directory):
    with pytest.raises(UserError, match="^new_classes: got True, .* family 'vq' is neither"):
        initial_params(directory, tiny.VQ, new_classes=True)


def test_another_model_is_refused_by_its_fields(directory):
    model = dataclasses.replace(tiny.LPD, num_layers=3, num_heads=4)
    with pytest.raises(ValueError) as error:
        initial_params(directory, model)
    assert str(error.value) == (
        f"init_from: got {directory!r}, a model of other sizes; differing: "
        "num_layers (there 2, here 3); num_heads (there 2, here 4)"
    )


def test_weights_that_are_not_what_their_config_says_are_refused(tmp_path):
    params = tiny.random_params(tiny.LPD)
    params["norm"] = {"scale": np.ones(3, np.float32)}
    config = {"transformer": config_to_dict(tiny.LPD), "tokenizer": None}
    save_model_directory(tmp_path / "model", config, params)
    with pytest.raises(ValueError, match="^init_from: got .*, which does not fit") as error:
        initial_params(str(tmp_path / "model"), tiny.LPD)
    assert "missing norm/bias" in str(error.value)
    assert "norm/scale: got shape (3,), allowed is (16,)" in str(error.value)
