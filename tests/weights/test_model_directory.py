import dataclasses
import json
import os
import pathlib

import ml_dtypes
import numpy as np
import pytest

from lpd_jax.models.family import config_to_dict
from lpd_jax.models.settings import Generation
from lpd_jax.runtime import buckets
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import (
    load_model_directory,
    read_directory_config,
    save_model_directory,
)
from tests import tiny
from tests.buckets import folder_buckets

CONFIG = {
    "image_size": [8, 8],
    "class_names": ["cat", "dög", "owl"],
    "transformer": config_to_dict(tiny.LPD),
    "tokenizer": config_to_dict(tiny.VQ),
    "generation": {"order": "halton", "num_steps": 4, "repulsion_threshold": None},
}


def params(seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((3, 4)).astype(np.float32)
    return {"norm": {"scale": np.float32(2.0)}, "blocks": {"up": {"kernel": weights.T}}}


@pytest.fixture
def saved(tmp_path):
    save_model_directory(tmp_path / "model", CONFIG, params(0), params(1))
    return tmp_path / "model"


def test_what_is_saved_comes_back(saved):
    files = load_model_directory(saved)
    assert (files.config.transformer, files.config.tokenizer) == (tiny.LPD, tiny.VQ)
    assert (files.config.image_size, files.config.class_names) == ((8, 8), ("cat", "dög", "owl"))
    assert files.config.generation == Generation(4, order="halton", guidance_schedule="linear")
    again = DirectoryConfig.from_mapping(files.config.to_mapping(), files.config.where)
    assert again == files.config
    kernel = files.transformer["blocks"]["up"]["kernel"]
    np.testing.assert_array_equal(kernel, params(0)["blocks"]["up"]["kernel"])
    assert files.tokenizer["norm"]["scale"].shape == ()
    assert {file.name for file in saved.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.safetensors",
    }
    assert len({file.stat().st_mode for file in saved.iterdir()}) == 1  # who reads one reads all
    assert [file.name for file in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), (ml_dtypes.bfloat16, 1e-2)])
def test_half_precision_files_load_as_float32(tmp_path, dtype, tolerance):
    config = {**CONFIG, "tokenizer": None}
    save_model_directory(tmp_path / "half", config, params(), dtype=dtype)
    save_model_directory(tmp_path / "full", config, params())
    kernel = load_model_directory(tmp_path / "half").transformer["blocks"]["up"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, params()["blocks"]["up"]["kernel"], rtol=tolerance)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < sizes[1]


def test_weights_that_a_dtype_cannot_hold_are_refused(tmp_path):
    config = {**CONFIG, "tokenizer": None}
    with pytest.raises(
        ValueError, match="^transformer: norm/scale: got values up to 100000.0, allowed .* float16"
    ):
        save_model_directory(
            tmp_path / "model", config, {"norm": {"scale": np.full(2, 1e5)}}, dtype="float16"
        )
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_told_from_a_dtype_that_is_too_narrow(tmp_path):
    weights = {"norm": {"scale": np.array([1, np.nan, np.inf, 2], np.float32)}}
    words = "^tokenizer: norm/scale: got 2 of 4 values that are not finite, allowed are finite num"
    with pytest.raises(ValueError, match=words):
        save_model_directory(tmp_path / "m", {**CONFIG, "transformer": None}, tokenizer=weights)
    assert not list(tmp_path.iterdir())


def test_one_model_may_be_alone_but_not_without_its_config(tmp_path):
    save_model_directory(tmp_path / "model", {**CONFIG, "transformer": None}, tokenizer=params())
    files = load_model_directory(tmp_path / "model")
    assert files.transformer is None
    assert files.tokenizer is not None
    with pytest.raises(ValueError, match="tokenizer: got only one of weights and config"):
        save_model_directory(tmp_path / "other", CONFIG, transformer=params())


def test_weights_that_are_there_already_are_not_written_again(saved):
    """So a model can be saved over itself where there is no room for two."""

    def inodes():
        names = ("model.safetensors", "tokenizer.safetensors")
        return [(saved / name).stat().st_ino for name in names]

    before, older = (saved / "model.safetensors").read_bytes(), inodes()
    save_model_directory(saved, CONFIG, params(0), params(2))
    newer = inodes()
    assert newer[0] == older[0] and newer[1] != older[1]
    assert (saved / "model.safetensors").read_bytes() == before
    kernel = load_model_directory(saved).tokenizer["blocks"]["up"]["kernel"]
    np.testing.assert_array_equal(kernel, params(2)["blocks"]["up"]["kernel"])
    save_model_directory(saved, CONFIG, params(0), params(2), dtype="bfloat16")
    assert inodes()[0] != older[0]


def test_replacing_keeps_other_files_and_refuses_foreign_folders(saved, tmp_path):
    (saved / "LICENCE").write_text("CC0")
    (saved / "notes").symlink_to("moved")
    save_model_directory(saved, {**CONFIG, "tokenizer": None}, params(7))
    assert {file.name for file in saved.iterdir()} == {
        "config.json",
        "model.safetensors",
        "LICENCE",
        "notes",
    }
    assert os.readlink(saved / "notes") == "moved"  # to nothing, as it was
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("precious")
    with pytest.raises(ValueError, match="is no model directory and not empty"):
        save_model_directory(tmp_path / "photos", CONFIG, params(), params())
    assert (tmp_path / "photos" / "holiday.jpg").read_text() == "precious"
    below = tmp_path / "photos" / "holiday.jpg" / "model"
    with pytest.raises(ValueError, match=r"^output: got .*model'?, but .*holiday\.jpg is a file"):
        save_model_directory(below, CONFIG, params(), params())


def test_missing_things_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_model_directory(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no config.json"):
        load_model_directory(tmp_path / "empty")
    (saved / "tokenizer.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no tokenizer.safetensors"):
        load_model_directory(saved)


@pytest.mark.parametrize("kept", [0, 5, 100, -4])
def test_truncated_weights_are_named(saved, kept):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match="model.safetensors: got .* that are truncated or damaged"
    ) as error:
        load_model_directory(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version: got 2, allowed is 1; .* newer lpd_jax"),
        ({"format_version": None}, "format_version: got None, allowed is 1"),
        ({"colour": 1}, "colour: got an unknown field, allowed are format_version, image_size"),
        ({"generation": {"steps": 1}}, "generation.steps: got an unknown field"),
        ({"generation": {"top_k": "all"}}, "generation.top_k: got 'all', allowed is an int"),
        ({"generation": {"temperature": -1}}, "temperature: got -1.0, allowed are"),
        ({"class_names": "cat"}, "class_names: got 'cat', allowed is a list"),
        ({"class_names": ["cat"]}, "class_names: got 1, allowed are none and one for each of 3"),
        ({"image_size": [64]}, r"image_size: got \[64\], allowed is \[8, 8\]"),
        (
            {"image_size": [64, 64]},
            r"image_size: got \[64, 64\], allowed is \[8, 8\]: a",
        ),
        ({"image_size": [64, 0]}, r"image_size: got \[64, 0\], allowed is \[height, width\]"),
        (
            {"transformer": {"family": "gpt"}},
            "transformer.family: got 'gpt', allowed are arpg, lpd, par",
        ),
        (
            {"transformer": CONFIG["tokenizer"]},
            "transformer.family: got 'vq', allowed is that of",
        ),
        ({"transformer": None, "tokenizer": None}, "neither transformer nor tokenizer"),
    ],
)
def test_bad_configs_are_named(saved, changes, message):
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message):
        read_directory_config(saved)


def test_truncated_config_is_named(saved):
    text = (saved / "config.json").read_text(encoding="utf-8")
    (saved / "config.json").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="config.json: got a file that is damaged or truncated"):
        load_model_directory(saved)


def test_a_bucket_takes_a_model_directory_and_its_config_last(tmp_path, monkeypatch):
    bucket, there = "gs://bucket/models/m", tmp_path / "bucket/models/m"
    with folder_buckets(tmp_path):
        save_model_directory(bucket, CONFIG, params(0), params(1))
        (there / "LICENSE").write_text("mine")
        save_model_directory(bucket, {**CONFIG, "tokenizer": None}, params(2))
        names = {path.name for path in there.iterdir()}
        assert names == {"LICENSE", "config.json", "model.safetensors"}
        files = load_model_directory(bucket)
        assert files.config.where == bucket and files.tokenizer is None
        kernel = files.transformer["blocks"]["up"]["kernel"]
        np.testing.assert_array_equal(kernel, params(2)["blocks"]["up"]["kernel"])
        # One that breaks off is no model directory, rather than half of two.
        copy = buckets.copy_file
        monkeypatch.setattr(buckets, "copy_file", lambda *files: [copy(*files), 1 / 0])
        with pytest.raises(ZeroDivisionError):
            save_model_directory(bucket, CONFIG, params(3), params(1))
        with pytest.raises(FileNotFoundError, match="^model directory '?gs://.* has no config"):
            load_model_directory(bucket)


def test_a_bucket_of_something_else_is_left_as_it_is(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "photo.png").write_bytes(b"photo")
    with (
        folder_buckets(tmp_path),
        pytest.raises(UserError, match="^output: got 'gs://bucket', which is no model directory"),
    ):
        save_model_directory("gs://bucket", CONFIG, params(0), params(1))
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["photo.png"]


def test_a_workdir_of_a_run_is_told_from_a_model_directory(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="has no config.json; of a run's workdir launch/ex"):
        read_directory_config(tmp_path)


def test_weights_of_ours_without_their_config_are_not_to_be_converted(saved):
    (saved / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="json; fetch the one .* its 'model.safetensors'$"):
        read_directory_config(saved)
    (saved / "model.safetensors").write_bytes(b"of somebody else, or damaged")
    (saved / "tokenizer.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="its 'model.safetensors' launch/convert.py makes"):
        read_directory_config(saved)


def test_of_a_folder_around_a_model_directory_the_line_says_which(saved):
    with pytest.raises(FileNotFoundError, match=f"config.json; did you mean '{saved}'[?]$"):
        read_directory_config(saved.parent)


def test_of_somebody_elses_checkpoint_the_line_says_what_makes_a_model(tmp_path):
    for name in ("lpd.pth", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="of its 'lpd.pth' launch/convert.py makes one"):
        read_directory_config(tmp_path)


def test_a_folder_may_have_a_name_of_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    save_model_directory(folder, CONFIG, params(0), params(1), card=f"# {folder.name}\n")
    assert (folder / "README.md").read_text() == "# caf\\udce9\n"
    assert load_model_directory(folder).config.tokenizer == tiny.VQ


def test_a_model_saved_where_we_stand_leaves_us_standing(tmp_path, monkeypatch):
    """`cd models/mine; python launch/export.py --output=.`: the shell's folder is still there."""
    source = tiny.write_model_directory(tmp_path / "source", tokenizer=None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    files = load_model_directory(source)
    for card in ("first", "second"):  # new, and over itself
        save_model_directory(".", files.config, files.transformer, card=card)
        assert os.path.samefile(os.getcwd(), tmp_path / "here")
        assert pathlib.Path("README.md").read_text() == card
    assert load_model_directory(".").config == dataclasses.replace(files.config, where=".")
    assert sorted(os.listdir(tmp_path)) == ["here", "source"]
    assert sorted(os.listdir(".")) == ["README.md", "config.json", "model.safetensors"]
