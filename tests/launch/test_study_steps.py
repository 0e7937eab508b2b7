import json

import pytest

from tests import avatars, tiny

SCRIPT = tiny.REPOSITORY / "launch" / "study_steps.py"

GENERATION = {"order": "locality", "num_steps": 4, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "avatars"
    return avatars.write_model_directory(path, **GENERATION)


def study(model, folder, *options):
    options = ("--num_images=12", "--orders=raster,locality", "--output=s", *options)
    return avatars.run_on_few_pictures(SCRIPT, f"--model={model}", *options, cwd=folder)


@pytest.mark.slow  # two processes that compile
def test_writes_table_plot_and_numbers_and_does_no_point_twice(model, tmp_path):
    result = study(model, tmp_path, "--steps=2")
    assert result.returncode == 0, result.stderr
    assert "real validation pictures" in result.stdout
    names = {f"s_against_quality.{kind}" for kind in ("json", "md", "png")} | {"s_cache.json"}
    assert {file.name for file in tmp_path.iterdir()} == names
    first = json.loads((tmp_path / "s_against_quality.json").read_text())
    assert [(row["num_steps"], row["order"]) for row in first["points"]] == [
        (2, "raster"),
        (2, "locality"),
    ]
    assert first["protocol"]["guidance_scale"] == 2.0 and first["protocol"]["commit"]

    cache = tmp_path / "s_cache.json"
    known = json.loads(cache.read_text())
    for row in known.values():
        row["frechet_distance"] = 123.0  # a point that is drawn again loses this mark
    cache.write_text(json.dumps(known))
    assert study(model, tmp_path, "--steps=2").returncode == 0
    again = json.loads((tmp_path / "s_against_quality.json").read_text())
    assert {row["frechet_distance"] for row in again["points"]} == {123.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num_images=25"], ["num_images", "25", "12 classes"]),
        (["--steps=17"], ["num_steps", "17", "16"]),
        (["--steps=four"], ["steps", "'four'", "whole numbers"]),
        (["--orders=spiral"], ["order", "spiral", "halton"]),
        (["--guidance_scale=-1"], ["guidance_scale", "-1"]),
        (["--output=nowhere/s"], ["output", "nowhere"]),
        (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(model, tmp_path, options, words):
    result = tiny.run_python(SCRIPT, f"--model={model}", "--output=s", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_classes_is_refused(tmp_path, tmp_path_factory):
    cats = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    result = tiny.run_python(SCRIPT, f"--model={cats}", "--output=s", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "'cat'" in result.stderr and "pixelArt" in result.stderr
    assert not list(tmp_path.iterdir())
