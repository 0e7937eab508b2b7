import json

import pytest

from tests import avatars, tiny

SCRIPT = tiny.REPOSITORY / "launch" / "study_models.py"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    lpd = avatars.write_model_directory(folder / "any_order", order="halton")
    par = avatars.write_model_directory(folder / "four_at_once", avatars.PAR)
    avatars.write_model_directory(folder / "other_tokenizer", avatars.PAR, seed=1)
    return [lpd, par]


@pytest.mark.slow  # a process that compiles two models
def test_every_model_draws_as_it_was_trained_to(models, tmp_path):
    names = ",".join(map(str, models))
    options = ("--num_images=12", "--lpd_steps=2,4", "--output=m")
    result = avatars.run_on_few_pictures(SCRIPT, f"--models={names}", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {file.name for file in tmp_path.iterdir()} == {
        "m.json", "m.md", "m.png", "m_cache.json",
    }  # fmt: skip
    study = json.loads((tmp_path / "m.json").read_text())
    drawn = [(row["name"], row["order"], row["num_steps"]) for row in study["rows"]]
    assert drawn == [
        ("any_order", "halton", 2),
        ("any_order", "halton", 4),
        ("four_at_once", "region", 7),
    ]
    assert all(row["nats_per_token"] > 1 for row in study["rows"])
    assert study["protocol"]["guidance_scale"] == 1.0 and "model" not in study["protocol"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--models="], ["models", "at least one"]),
        (["--num_images=25"], ["num_images", "25", "12 classes"]),
        (["--lpd_steps=17"], ["num_steps", "17", "16"]),
        (["--lpd_steps=few"], ["lpd_steps", "'few'", "whole numbers"]),
        (["--temperature=-1"], ["temperature", "-1"]),
        (["--output=nowhere/m"], ["output", "nowhere"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(models, tmp_path, options, words):
    names = ",".join(map(str, models))
    run = tiny.run_python(SCRIPT, f"--models={names}", "--output=m", *options, cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), run.stderr
    assert all(word in run.stderr for word in words)
    assert not list(tmp_path.iterdir())


def test_models_of_two_tokenizers_are_refused(models, tmp_path):
    names = f"{models[1]},{models[1].parent / 'other_tokenizer'}"
    run = tiny.run_python(SCRIPT, f"--models={names}", "--output=m", cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "several tokenizers" in run.stderr and not list(tmp_path.iterdir())
