import json

import numpy as np
import pytest
from PIL import Image

from lpd_jax.data.moving_avatars import NAMES
from tests import moving_clips, tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "study_clips.py"
WRONG = [
    (["--models="], ["models", "at least one"]),
    (["--num_clips=25"], ["num_clips", "25", "12 classes"]),
    (["--models=LPD@81"], ["num_steps", "81", "80"]),
    (["--temperature=-1"], ["temperature", "-1"]),
    (["--output=nowhere/m"], ["output", "nowhere"]),
    (["--models=TWO_TOKENIZERS"], ["several tokenizers"]),
    (["--models=PAR,PAR"], ["models", "par", "twice"]),
    (["--models=OF_PICTURES"], ["models", "pictures", "moving_avatars", "(17, 64, 64)"]),
    (["--seeds=1,2,1"], ["seeds", "1, 2, 1", "different"]),
    (["--seeds="], ["seeds", "at least one"]),
    (["--caches=nowhere.json"], ["caches", "nowhere.json", "that are there"]),
]
# A fiftieth of the real clips: a study as it is, in seconds.
FEW_CLIPS = """
from lpd_jax.data.moving_avatars import MovingAvatars
MovingAvatars.__len__ = lambda self: 24
from lpd_jax.studies import clip_material
clip_material.VALIDATION_VIEWS = 1
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "par": moving_clips.write_model_directory(folder / "par", guidance_scale=1.5),
        "lpd": moving_clips.write_model_directory(folder / "lpd", moving_clips.LPD, num_steps=6),
        "other": moving_clips.write_model_directory(folder / "other", seed=1),
        "pictures": tiny.write_model_directory(folder / "pictures"),
    }


@pytest.mark.slow  # a process that compiles two models, and what judges
def test_models_play_beside_each_other_and_what_is_finished_is_not_drawn_again(models, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
    both = f"--models=n4={models['par']},{models['lpd']}@5"
    common = ["--num_clips=12", "--seeds=0,7", "--output=m", "--num_repeats=1"]
    # Another machine has drawn one of them.
    cases = [
        (first, [f"--models=n4={models['par']}", *common, "--batch_size=12", "--sensitivity"]),
        (second, [both, *common, f"--caches={first / 'm_cache.json'}"]),
    ]
    outcomes = one_process.run_cases(SCRIPT, cases, tmp_path, FEW_CLIPS)
    for outcome in outcomes:
        assert outcome.code == 0, outcome.err
        assert outcome.files.keys() == {"m.json", "m.md", "m.gif", "m.png", "m_cache.json"}
    alone, study = (json.loads(outcome.files["m.json"]) for outcome in outcomes)
    drawn = [(row["name"], row["method"], row["num_steps"]) for row in study["rows"]]
    assert drawn == [("n4", "PAR", 23), ("lpd", "LPD", 5)]
    timed = ("latency", "latency_seconds")  # anew, whoever drew the others
    known, again = (
        {k: v for k, v in s["rows"][0].items() if k not in timed} for s in (alone, study)
    )
    assert known == again
    par, lpd = study["rows"]
    assert [row["made_with"][0]["batch_size"] for row in (par, lpd)] == [12, 4]
    assert par["generation"]["guidance_scale"] == 1.5
    for row in study["rows"]:
        distances = row["distances"]
        assert row["frechet_distance"] == pytest.approx(np.mean(distances))
        assert row["standard_deviation"] == pytest.approx(np.std(distances, ddof=1))
        assert 0 <= row["motion_agreement"] <= 1 and row["latency_seconds"] > 0
        assert "cores of" in row["made_with"][0]["device"] and "tokens" not in row
    caches = [json.loads(outcome.files["m_cache.json"]) for outcome in outcomes]
    # Two draws of each model, and what the tokenizer makes of real clips.
    assert len(caches[0]) == 3 and len(caches[1]) == 5 and caches[0].items() <= caches[1].items()
    tokens = next(iter(caches[0].values()))["tokens"]
    assert len(tokens) == len(NAMES) and len(tokens[0].split()) == 80
    assert study["floors"][0]["name"] == "real validation clips"
    assert alone["sensitivity"][0]["frechet_distance"] > study["floors"][0]["frechet_distance"]
    assert study["sensitivity"] == []
    with Image.open(second / "m.gif") as film, Image.open(first / "m.gif") as fewer:
        assert film.n_frames == 17 and film.height == pytest.approx(fewer.height * 1.5, rel=0.05)


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    par, lpd = models["par"], models["lpd"]
    places = {"TWO_TOKENIZERS": f"{par},{models['other']}", "OF_PICTURES": models["pictures"]}
    places |= {"PAR": par, "LPD": lpd}
    common = [f"--models={par},{lpd}", "--output=m"]
    cases = []
    for options, _ in WRONG:
        for word, place in places.items():
            options = [option.replace(word, str(place)) for option in options]
        cases.append([*common, *options])
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
