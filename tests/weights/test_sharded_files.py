"""Weights in several files, and those below one attribute, are read as one model's."""

import json

import chex
import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.weights.from_torch.conversion import convert_file
from lpd_jax.weights.from_torch.torch_files import read_state_dict
from tests.torch_writer import write_zip

WEIGHTS = {name: np.arange(4, dtype=np.float32) + i for i, name in enumerate("abc")}
FILES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path):
    places = {"a": FILES[0], "b": FILES[1], "c": FILES[1]}
    for file in FILES:
        part = {f"module.{x}": WEIGHTS[x] for x in places if places[x] == file}
        safetensors.numpy.save_file(part, tmp_path / file)
    write_index(tmp_path, places)
    return tmp_path


def write_index(folder, places, **others):
    named = {f"module.{name}": file for name, file in places.items()}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": named} | others))


def test_the_index_gives_all_of_them(folder):
    chex.assert_trees_all_equal(read_state_dict(folder / INDEX), WEIGHTS)


def test_pickled_ones_too(tmp_path):
    for number, name in enumerate("ab"):
        write_zip(tmp_path / f"{number}.bin", {name: WEIGHTS[name]})
    (tmp_path / "x.json").write_text(json.dumps({"weight_map": {"a": "0.bin", "b": "1.bin"}}))
    chex.assert_trees_all_equal(
        read_state_dict(tmp_path / "x.json"), {name: WEIGHTS[name] for name in "ab"}
    )


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"a": "../a.bin"}, "its weight_map names '../a.bin', allowed are files beside it"),
        ({"a": FILES[0], "b": "gone.bin"}, "names files that are not beside it: gone.bin"),
        ({"a": FILES[0], "z": FILES[0]}, "its files lack weights that it names: z"),
        ({}, "a JSON file without a weight_map; allowed is the index of sharded weights"),
    ],
)
def test_what_is_no_index_is_named(folder, places, words):
    write_index(folder, places)
    with pytest.raises(ValueError, match="^checkpoint: got ") as error:
        read_state_dict(folder / INDEX)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_index_and_a_folder_are_named(folder):
    (folder / INDEX).write_text('{"weight_map": ')
    with pytest.raises(ValueError, match="^checkpoint: got .*Expecting value"):
        read_state_dict(folder / INDEX)
    with pytest.raises(FileNotFoundError, match="is a folder; .* in several the .index.json$"):
        read_state_dict(folder)


def test_one_of_several_alone_says_what_to_give(folder):
    part = {"tok_embeddings.weight": np.zeros((4, 8), np.float32)}
    safetensors.numpy.save_file(part, folder / FILES[0])
    with pytest.raises(ValueError, match=f"one of several: give {INDEX}$"):
        convert_file(folder / FILES[0], num_heads=2, grid_size=2)


def test_all_names_below_one_attribute(tmp_path):
    """So Lightning saves the model of a module."""
    file = tmp_path / "last.ckpt"
    below = {f"model._orig_mod.{name}": value for name, value in WEIGHTS.items()}
    write_zip(file, {"state_dict": below, "epoch": 3})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)
    write_zip(file, {"state_dict": {**below, "loss": WEIGHTS["a"]}})
    assert read_state_dict(file).keys() == {"model.a", "model.b", "model.c", "loss"}
