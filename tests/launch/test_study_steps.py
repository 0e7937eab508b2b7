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
    (["--seeds=1,2,1"], ["seeds", "1, 2, 1", "different"]),
    (["--caches=nowhere.json"], ["caches", "nowhere.json"]),
    (["--steps="], ["steps, orders", "at least one"]),
    (["--repulsion_thresholds=few"], ["repulsion_thresholds", "'few'", "whole numbers"]),
    (["--threshold_steps=2", "--repulsion_thresholds=-1"], ["repulsion_threshold", "-1"]),
    (["--proximity_thresholds=near"], ["proximity_thresholds", "'near'", "numbers"]),
    (["--proximity_thresholds=1", "--threshold_steps=17"], ["num_steps", "17", "16"]),
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


@pytest.mark.slow  # a process that compiles what draws and what judges
def test_parts_are_drawn_apart_and_written_as_one(folder, tmp_path):
    places = {name: tmp_path / name for name in ("whole", "a", "b", "merged")}
    for place in places.values():
        place.mkdir()
    common = [f"--model={folder / 'avatars'}", "--num_images=12", "--orders=locality"]
    common += ["--seeds=0,1", "--output=s", "--batch_size=12"]
    ablation = ["--repulsion_thresholds=0,1", "--threshold_steps=2"]
    cases = [
        (places["whole"], [*common, "--steps=2,4", *ablation]),
        (places["a"], [*common, "--steps=2", "--draw_only", *ablation]),
        (places["b"], [*common, "--steps=4", "--draw_only"]),
        (
            places["merged"],
            [*common, "--steps=2,4", *ablation, f"--caches={tmp_path}/[ab]/s_cache.json"],
        ),
    ]
    whole, a, b, merged = one_process.run_cases(SCRIPT, cases, tmp_path, one_process.FEW_PICTURES)
    for outcome in (whole, a, b, merged):
        assert outcome.code == 0, outcome.err
    assert a.files.keys() == b.files.keys() == {"s_cache.json"}
    points = [json.loads(part.files["s_cache.json"]) for part in (a, b)]
    assert [len(part) for part in points] == [6, 2]  # the own threshold's point is drawn once
    for name, key in (("s_against_quality.json", "points"), ("s_thresholds.json", "rows")):
        first, second = (json.loads(x.files[name]) for x in (whole, merged))
        assert len(first[key]) == {"points": 2, "rows": 3}[key]
        for one, other in zip(first[key], second[key], strict=True):
            assert one["distances"] == other["distances"]
        assert first["protocol"] == second["protocol"]
        assert "12 pictures at a time" in first["protocol"]["drawn on"]


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
