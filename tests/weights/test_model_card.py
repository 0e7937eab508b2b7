"""The README.md of a model directory."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import lpd_jax
from lpd_jax.weights.model_directory import load_model_directory
from tests import tiny


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return lpd_jax.Pipeline.from_pretrained(
        tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    )


def test_a_card_says_what_is_known(pipe, tmp_path):
    facts = {"licence": 'odd: "licence"\n---', "data": "a few cats", "metrics": {"FID": 2.5}}
    pipe.save_pretrained(tmp_path / "shared", **facts)
    text = (tmp_path / "shared" / "README.md").read_text()
    front, body = text.split("\n---\n", 1)
    # Whatever the licence is called, the front matter is as it was meant.
    assert json.loads(front.rpartition("license: ")[2]) == facts["licence"]
    for words in (
        "# shared",
        "| transformer | LPD |",
        "Classes: 3 (cat, dog, owl).",
        "Pictures: 8x8 pixels.",
        "Data: a few cats.",
        "Source: not stated.",
        "- FID: 2.5",
        "from_pretrained('shared')",
        "`order=locality`",
    ):
        assert words in body, words


def test_metrics_may_be_numbers_of_numpy_and_jax(pipe, tmp_path):
    metrics = {"FID": np.float32(2.5), "KID": jnp.asarray(0.25), "pictures": np.int64(600)}
    pipe.save_pretrained(tmp_path / "model", metrics=metrics)
    text = (tmp_path / "model" / "README.md").read_text()
    assert "- FID: 2.5\n- KID: 0.25\n- pictures: 600\n" in text


def test_a_card_that_somebody_wrote_stays_and_an_older_one_of_ours_goes(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "model", data="old")
    pipe.save_pretrained(tmp_path / "model", data="new")
    card = tmp_path / "model" / "README.md"
    assert "Data: new." in card.read_text()
    card.write_text("mine")
    pipe.save_pretrained(tmp_path / "model", data="newer")
    assert card.read_text() == "mine"
    assert lpd_jax.Pipeline.from_pretrained(tmp_path / "model").class_names == tiny.CLASS_NAMES


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"license": "MIT"}, "license: got an unknown field|facts.license"),
        ({"data": 3}, "^data: got 3, allowed is a text"),
        ({"metrics": [1]}, r"^metrics: got \[1\], allowed are numbers by name"),
        ({"metrics": {"FID": float("nan")}}, "^metrics: got nan for 'FID'"),
    ],
)
def test_wrong_facts_are_named_and_nothing_is_written(pipe, tmp_path, facts, words):
    with pytest.raises(ValueError, match=words):
        pipe.save_pretrained(tmp_path / "model", **facts)
    assert not (tmp_path / "model").exists()


def test_a_folder_whose_name_is_no_text(pipe, tmp_path):
    folder = tiny.folder_without_text(tmp_path)
    pipe.save_pretrained(folder)
    assert r"# caf\xe9" in (folder / "README.md").read_text(encoding="utf-8")
    assert lpd_jax.Pipeline.from_pretrained(folder).class_names == pipe.class_names


def test_a_class_name_of_half_a_character_is_written_as_it_was_read(pipe, tmp_path):
    names = ("cat", "\ud83d", "猫")
    files = load_model_directory(tiny.write_model_directory(tmp_path / "model"))
    config = dataclasses.replace(files.config, class_names=names)
    lpd_jax.Pipeline(files._replace(config=config)).save_pretrained(tmp_path / "model")
    assert load_model_directory(tmp_path / "model").config.class_names == names
    assert r"(cat, \ud83d, 猫)" in (tmp_path / "model" / "README.md").read_text("utf-8")
