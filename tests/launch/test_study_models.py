import json

import pytest

from tests import avatars, tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "study_models.py"
WRONG = [
    (["--models="], ["models", "at least one"]),
    (["--num_images=25"], ["num_images", "25", "12 classes"]),
    (["--lpd_steps=17"], ["num_steps", "17", "16"]),
    (["--lpd_steps=few"], ["lpd_steps", "'few'", "whole numbers"]),
    (["--temperature=-1"], ["temperature", "-1"]),
    (["--output=nowhere/m"], ["output", "nowhere"]),
    (["--models=TWO_TOKENIZERS"], ["several tokenizers"]),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    lpd = avatars.write_model_directory(
        folder / "any_order", order="halton", guidance_scale=3.0, temperature=0.5
    )
    par = avatars.write_model_directory(folder / "four_at_once", avatars.PAR)
    avatars.write_model_directory(folder / "other_tokenizer", avatars.PAR, seed=1)
    return [lpd, par]


@pytest.mark.slow  # a process that compiles two models
def test_every_model_draws_as_it_was_trained_to_and_all_are_sampled_alike(models, tmp_path):
    place = tmp_path / "study"
    place.mkdir()
    names = ",".join(map(str, models))
    options = [f"--models={names}", "--num_images=12", "--lpd_steps=2,4", "--output=m"]
    (outcome,) = one_process.run_cases(
        SCRIPT, [(place, options)], tmp_path, one_process.FEW_PICTURES
    )
    assert outcome.code == 0, outcome.err
    assert outcome.files.keys() == {"m.json", "m.md", "m.png", "m_cache.json"}
    study = json.loads(outcome.files["m.json"])
    drawn = [(row["name"], row["order"], row["num_steps"]) for row in study["rows"]]
    assert drawn == [
        ("any_order", "halton", 2),
        ("any_order", "halton", 4),
        ("four_at_once", "region", 7),
    ]
    assert all(row["nats_per_token"] > 1 for row in study["rows"])
    # Not what the first model's directory says.
    assert study["protocol"]["guidance_scale"] == study["protocol"]["temperature"] == 1.0
    assert study["protocol"]["guidance_schedule"] == "constant"
    assert "model" not in study["protocol"]


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    two_tokenizers = f"{models[1]},{models[1].parent / 'other_tokenizer'}"
    common = [f"--models={models[0]},{models[1]}", "--lpd_steps=4", "--output=m"]
    cases = [
        [*common, *(option.replace("TWO_TOKENIZERS", two_tokenizers) for option in options)]
        for options, _ in WRONG
    ]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
