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
    (["--models=ANY_ORDER,ANY_ORDER"], ["models", "any_order", "twice"]),
    (["--models=ANY_ORDER@few"], ["models", "'few'", "whole numbers"]),
    (["--models=a/best,b/best"], ["models", "'a/best'", "'b/best'", "LABEL=DIR"]),
    (["--models=here="], ["models", "'here='", "LABEL=DIR@STEPS"]),
    (["--seeds=1,2,1"], ["seeds", "1, 2, 1", "different"]),
    (["--seeds=-1"], ["seed", "-1"]),
    (["--caches=elsewhere.json"], ["caches", "'elsewhere.json'", "files that are there"]),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "any_order": avatars.write_model_directory(
            folder / "any_order",
            avatars.RANDAR,
            order="halton",
            guidance_scale=3.0,
            temperature=0.5,
        ),
        "four_at_once": avatars.write_model_directory(folder / "four_at_once", avatars.PAR),
        "one_by_one": avatars.write_model_directory(folder / "one_by_one", avatars.LLAMAGEN),
        "other": avatars.write_model_directory(folder / "other", avatars.PAR, seed=1),
    }


@pytest.mark.slow  # a process that compiles three models
def test_every_model_draws_as_it_was_trained_to_and_all_are_sampled_alike(models, tmp_path):
    place = tmp_path / "study"
    place.mkdir()
    names = [models["any_order"], models["four_at_once"], f"zipar={models['one_by_one']}@10"]
    options = [f"--models={','.join(map(str, names))}", "--num_images=12", "--lpd_steps=4"]
    options += ["--seeds=0,7", "--output=m", "--num_repeats=2"]
    (outcome,) = one_process.run_cases(
        SCRIPT, [(place, options)], tmp_path, one_process.FEW_PICTURES
    )
    assert outcome.code == 0, outcome.err
    assert outcome.files.keys() == {"m.json", "m.md", "m.png", "m_latency.png", "m_cache.json"}
    study = json.loads(outcome.files["m.json"])
    drawn = [(row["name"], row["method"], row["order"], row["num_steps"]) for row in study["rows"]]
    assert drawn == [
        ("any_order", "RandAR", "halton", 4),
        ("four_at_once", "PAR", "region", 7),
        ("zipar", "LlamaGen + ZipAR", "raster", 10),
    ]
    for row in study["rows"]:
        first, second = row["distances"]
        assert row["frechet_distance"] == pytest.approx((first + second) / 2)
        assert row["standard_deviation"] == pytest.approx(abs(first - second) / 2**0.5)
        assert row["latency"]["num_runs"] == 2 and row["latency_seconds"] > 0
        assert row["training_flops"] > 0
        assert row["method"].endswith("ZipAR") or row["nats_per_token"] > 1
    # Not what the first model's directory says.
    assert study["protocol"]["guidance_scale"] == study["protocol"]["temperature"] == 1.0
    assert study["protocol"]["guidance_schedule"] == "constant"
    assert study["protocol"]["seed"] == "0, 7" and "model" not in study["protocol"]


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    any_order, par = models["any_order"], models["four_at_once"]
    places = {"TWO_TOKENIZERS": f"{par},{models['other']}", "ANY_ORDER": str(any_order)}
    common = [f"--models={any_order},{par}", "--lpd_steps=4", "--output=m"]
    cases = []
    for options, _ in WRONG:
        for word, place in places.items():
            options = [option.replace(word, place) for option in options]
        cases.append([*common, *options])
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
