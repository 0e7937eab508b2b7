"""The command for many ways to draw: what it refuses, and what it leaves behind."""

import json

import pytest

from tests import avatars, tiny
from tests.launch import one_process
from tests.launch.test_evaluate import ALONE

SCRIPT = tiny.REPOSITORY / "launch" / "sweep.py"
WRONG = [
    (["--guidance_scale=1,two"], ["guidance_scale", "'two'", "numbers"]),
    (["--guidance_scale=1,-2"], ["guidance_scale", "-2"]),
    (["--num_steps=4,17"], ["num_steps", "17", "16"]),
    (["--order=spiral"], ["order", "spiral", "halton"]),
    (["--num_images=25"], ["num_images", "25", "12 classes"]),
    (["--model=avatars12", "--write_best"], ["model", "'avatars12'", "folder of a model"]),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "avatars"
    avatars.write_model_directory(folder, order="locality", num_steps=4, guidance_scale=2.0)
    return folder


@pytest.fixture(scope="module")
def refusals(model, tmp_path_factory):
    place, cases = tmp_path_factory.mktemp("refused"), []
    for i, (options, _) in enumerate(WRONG):
        (place / f"case_{i}").mkdir()
        cases.append((place / f"case_{i}", [f"--model={model}", *options]))
    return one_process.run_cases(SCRIPT, cases, place, ALONE)


@pytest.mark.parametrize("row", range(len(WRONG)), ids=lambda row: WRONG[row][0][-1])
def test_a_wrong_argument_is_one_line_and_writes_nothing(refusals, row):
    one_process.check_refusal(refusals[row], WRONG[row][1])


@pytest.mark.slow  # a process that compiles what draws and what judges
def test_writes_a_table_and_the_best_choices(model, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    options = [f"--model={model}", "--guidance_scale=1.5,3", "--num_images=12", "--write_best"]
    (outcome,) = one_process.run_cases(
        SCRIPT, [(place, options)], tmp_path, ALONE + one_process.FEW_PICTURES
    )
    assert outcome.code == 0, outcome.err
    names = {"sweep.csv", "sweep_trade_off.png", "sweep_steps.png", "points"}
    assert {path.name for path in (place / "sweep").iterdir()} == names
    rows = (place / "sweep" / "sweep.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith("num_steps,order,guidance_scale,temperature,")
    chosen = json.loads((model / "config.json").read_text())["generation"]
    best = next(line for line in outcome.out.splitlines() if line.startswith("best "))
    assert f"guidance_scale {chosen['guidance_scale']}" in best
