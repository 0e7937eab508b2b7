import json

import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.token_plan import plan_cache, write_token_cache
from lpd_jax.studies.dependency_report import FILES
from lpd_jax.weights.loading import Weights
from tests import avatars, tiny
from tests.data import photos
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "analyze.py"
WRONG = [
    ("avatars", ["--references=7"], ["references", "'7'", "ROW:COLUMN"]),
    ("avatars", ["--references=a:1"], ["references", "'a'", "whole numbers"]),
    ("avatars", ["--num_parallel=5"], ["num_parallel", "5", "squares"]),
    ("avatars", ["--num_images=1201"], ["num_images", "1201", "1200"]),
    ("avatars", ["--seed=-1"], ["seed", "-1"]),
    ("avatars", ["--batch_size=0"], ["batch_size", "0"]),
    ("avatars", ["--output=nowhere/maps"], ["output", "nowhere"]),
    ("avatars", [f"--output={SCRIPT}"], ["output", "which is a file"]),
    ("cats", [], ["model", "'cat'", "pixelArt", "--data"]),
    ("par", [], ["model", "PAR", "LPD"]),
    ("cats", ["--data=nowhere"], ["data", "nowhere", "token cache"]),
    ("cats", ["--data=strange"], ["tokenizer", "digest", "token cache"]),
    ("cats", ["--data=tokens", "--num_images=13"], ["num_images", "13", "11"]),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of the avatars, one of other pictures with and one without a tokenizer, a PAR model,
    and tokens of the other pictures."""
    folder = tmp_path_factory.mktemp("models")
    avatars.write_model_directory(folder / "avatars")
    tiny.write_model_directory(folder / "cats")
    tiny.write_model_directory(folder / "bare", tokenizer=None)
    tiny.write_model_directory(folder / "par", transformer=tiny.PAR, order="region", num_steps=7)
    photos.write_folder(folder / "photos", 4)
    data = DataConfig(dataset="folder", path=str(folder / "photos"), image_size=8)
    for name, seed in (("tokens", 1), ("strange", 2)):
        tokenizer = Weights(tiny.VQ, tiny.random_params(tiny.VQ, seed))
        job = plan_cache(tokenizer, data, "train", "mirror", images_per_shard=8)
        write_token_cache(folder / name, job, batch_size=4, num_threads=2)
    return folder


def options_of(models, model, options):
    """Options of the script; a token cache is in the folder of the models."""
    options = [option.replace("--data=", f"--data={models}/") for option in options]
    return [f"--model={models / model}", "--num_parallel=4", "--output=maps", *options]


@pytest.fixture(scope="module")
def studies(models, tmp_path_factory):
    """What the script wrote for each model; the folder of the maps is there before, or not."""
    folder = tmp_path_factory.mktemp("studies")
    cases = [
        ("avatars", ["--num_images=5", "--references=0:0,3:1"]),
        ("cats", ["--data=tokens", "--num_images=11"]),
        ("bare", ["--data=tokens", "--num_images=11"]),
    ]
    for model, _ in cases:
        (folder / model / ("maps" if model == "bare" else "")).mkdir(parents=True)
    outcomes = one_process.run_cases(
        SCRIPT,
        [(folder / model, options_of(models, model, options)) for model, options in cases],
        folder,
    )
    found = {}
    for (model, _), outcome in zip(cases, outcomes, strict=True):
        assert outcome.code == 0, outcome.err
        maps = folder / model / "maps"
        assert {path.name for path in maps.iterdir()} == set(FILES)
        found[model] = json.loads((maps / "token_dependency.json").read_text())
    return found


@pytest.mark.slow  # a process that compiles for three models
def test_maps_of_the_bundled_pictures(studies):
    study = studies["avatars"]
    protocol = study["protocol"]
    assert protocol["data"] == "avatars12 validation" and protocol["num_images"] == 5
    assert protocol["commit"] and protocol["model_digest"]
    assert protocol["command"].startswith("python launch/analyze.py --model=")
    assert [row["reference"] for row in study["given_one"]] == [None, [0, 0], [3, 1]] * 2
    assert {row["num_parallel"] for row in study["parallel"]} == {4}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cats", "bare"])
def test_maps_of_a_token_cache(studies, model):
    study = studies[model]
    assert study["protocol"]["data"].startswith("tokens of folder train")
    assert study["protocol"]["num_images"] == 11
    assert len(study["given_one"]) == 2 * 5  # without a reference, and four by default


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    cases = [options_of(models, model, options) for model, options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][1]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][2])
