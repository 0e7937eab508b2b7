import json

import pytest

from tests import avatars, tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "study_steps.py"

GENERATION = {"order": "locality", "num_steps": 4, "guidance_scale": 2.0}
WRONG = [
    (["--num_images=25"], ["num_images", "25", "12 classes"]),
    (["--steps=17"], ["num_steps", "17", "16"]),
    (["--steps=four"], ["steps", "'four'", "whole numbers"]),
    (["--orders=spiral"], ["order", "spiral", "halton"]),
    (["--guidance_scale=-1"], ["guidance_scale", "-1"]),
    (["--output=nowhere/s"], ["output", "nowhere"]),
    (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    (["--model=cats"], ["'cat'", "pixelArt"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models: one of the avatars, one of other pictures."""
    folder = tmp_path_factory.mktemp("models")
    avatars.write_model_directory(folder / "avatars", **GENERATION)
    tiny.write_model_directory(folder / "cats")
    return folder


@pytest.mark.slow  # a process that compiles what draws and what judges
def test_writes_table_plot_and_numbers_and_does_no_point_twice(folder, tmp_path):
    place = tmp_path / "study"
    place.mkdir()
    options = ["--num_images=12", "--orders=raster,locality", "--output=s", "--steps=2"]
    first, again = one_process.run_cases(
        SCRIPT,
        2 * [(place, [f"--model={folder / 'avatars'}", *options])],
        tmp_path,
        one_process.FEW_PICTURES,
    )
    for outcome in (first, again):
        assert outcome.code == 0, outcome.err
        assert "real validation pictures" in outcome.out
    names = {f"s_against_quality.{kind}" for kind in ("json", "md", "png")} | {"s_cache.json"}
    assert first.files.keys() == again.files.keys() == names
    study = json.loads(first.files["s_against_quality.json"])
    drawn = [(row["num_steps"], row["order"]) for row in study["points"]]
    assert drawn == [(2, "raster"), (2, "locality")]
    assert study["protocol"]["guidance_scale"] == 2.0 and study["protocol"]["commit"]
    # Times are never the same twice: what the second run shows is what the first one measured.
    assert json.loads(again.files["s_against_quality.json"])["points"] == study["points"]


@pytest.fixture(scope="module")
def refusals(folder, tmp_path_factory):
    cases = [
        [f"--model={folder / 'avatars'}", "--output=s"]
        + [option.replace("--model=cats", f"--model={folder / 'cats'}") for option in options]
        for options, _ in WRONG
    ]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
