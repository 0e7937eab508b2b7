import json

import pytest

from tests import avatars, tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "study_contexts.py"
WRONG = [
    (["--models="], ["models", "at least one"]),
    (["--num_images=25"], ["num_images", "25", "12 classes"]),
    (["--num_images=1212"], ["num_images", "1212"]),
    (["--steps=few"], ["steps", "'few'", "whole numbers"]),
    (["--steps=17"], ["num_steps", "17", "16"]),
    (["--orders=zigzag"], ["order", "zigzag"]),
    (["--models=PAR"], ["models", "PAR", "order of its own"]),
    (["--output=nowhere/m"], ["output", "nowhere"]),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    lpd = avatars.write_model_directory(folder / "any_order", order="halton")
    four = avatars.write_model_directory(folder / "four_at_once", avatars.PAR)
    return lpd, four, avatars.write_model_directory(folder / "other", seed=1, order="halton")


@pytest.mark.slow  # a process that compiles a model for each schedule
def test_each_model_is_judged_in_each_context_and_no_row_twice(models, tmp_path):
    common = ["--num_images=12", "--steps=16,2,16", "--output=c"]
    options = [f"--models={models[0]}", *common, "--orders=random,raster,random"]
    other = [f"--models={models[2]}", *common, "--orders=raster,halton"]
    first, again, more, back = one_process.run_cases(
        SCRIPT,
        [(tmp_path, options), (tmp_path, options), (tmp_path, other), (tmp_path, options)],
        tmp_path,
        one_process.FEW_PICTURES,
    )
    assert first.code == again.code == more.code == back.code == 0, first.err + more.err
    study = json.loads(again.files["c.json"])
    (row,) = study["rows"]
    assert row["nats"].keys() == {"random", "raster"}
    assert all(nats.keys() == {"16", "2"} for nats in row["nats"].values())
    assert all(0 < x < 20 for nats in row["nats"].values() for x in nats.values())
    assert json.loads(first.files["c.json"]) == study
    # What earlier runs have measured alike stays, below the models that were asked for.
    new, old = json.loads(more.files["c.json"])["rows"]
    assert old == row and new["name"] == "other" and new["nats"].keys() == {"raster", "halton"}
    assert json.loads(back.files["c.json"])["rows"] == [old, new]
    table = (tmp_path / "c.md").read_text()
    assert "| other |" in table and " - |" in table


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    common = [f"--models={models[0]}", "--num_images=12", "--steps=4", "--output=m"]
    cases = [
        [*common, *(option.replace("PAR", str(models[1])) for option in options)]
        for options, _ in WRONG
    ]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, models, case):
    words = [str(models[1]) if word == "PAR" else word for word in WRONG[case][1]]
    one_process.check_refusal(refusals[case], words)
