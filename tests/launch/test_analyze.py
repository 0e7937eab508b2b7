import json

import pytest

from lpd_jax import bundled
from lpd_jax.data.batches import DataConfig
from lpd_jax.data.token_writer import plan_cache, write_token_cache
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.studies.dependency_report import FILES
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.model_directory import save_model_directory
from tests import tiny
from tests.data import photos

SCRIPT = tiny.REPOSITORY / "launch" / "analyze.py"

# 4x4 tokens of 16 pixels, so that its pictures have the size of the avatars.
LPD = LPDConfig(1, 16, 2, 2, grid_size=(4, 4), codebook_size=32, num_classes=12)
VQ = VQConfig(
    base_channels=32,
    channel_multipliers=(1, 1, 1, 1, 1),
    num_res_blocks=1,
    z_channels=32,
    codebook_size=32,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of the avatars, one of other pictures with and one without a tokenizer, a PAR model,
    and tokens of the other pictures."""
    folder = tmp_path_factory.mktemp("models")
    config = {
        "image_size": [64, 64],
        "class_names": list(bundled.CLASS_NAMES),
        "transformer": config_to_dict(LPD),
        "tokenizer": config_to_dict(VQ),
    }
    weights = tiny.random_params(LPD), tiny.random_params(VQ)
    save_model_directory(folder / "avatars", config, *weights)
    tiny.write_model_directory(folder / "cats")
    tiny.write_model_directory(folder / "bare", tokenizer=None)
    tiny.write_model_directory(folder / "par", transformer=tiny.PAR, order="region", num_steps=7)
    photos.write_folder(folder / "photos", 4)
    data = DataConfig(dataset="folder", path=str(folder / "photos"), image_size=8)
    for name, seed in (("tokens", 1), ("strange", 2)):
        tokenizer = Weights(tiny.VQ, tiny.random_params(tiny.VQ, seed))
        job = plan_cache(tokenizer, data, "train", "mirror", 1.5, 8)
        write_token_cache(folder / name, job, batch_size=4, num_threads=2)
    return folder


def analyze(folder, *options):
    return tiny.run_python(SCRIPT, "--num_parallel=4", "--output=maps", *options, cwd=folder)


@pytest.mark.slow
def test_maps_of_the_bundled_pictures(models, tmp_path):
    options = (f"--model={models / 'avatars'}", "--num_images=5", "--references=0:0,3:1")
    result = analyze(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "maps").iterdir()} == set(FILES)
    study = json.loads((tmp_path / "maps" / "token_dependency.json").read_text())
    protocol = study["protocol"]
    assert protocol["data"] == "avatars12 validation" and protocol["num_images"] == 5
    assert protocol["commit"] and protocol["model_digest"]
    assert protocol["command"].startswith("python launch/analyze.py --num_parallel=4")
    assert [row["reference"] for row in study["given_one"]] == [None, [0, 0], [3, 1]] * 2
    assert {row["num_parallel"] for row in study["parallel"]} == {4}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cats", "bare"])
def test_maps_of_a_token_cache(models, tmp_path, model):
    (tmp_path / "maps").mkdir()
    options = (f"--model={models / model}", f"--data={models / 'tokens'}", "--num_images=12")
    result = analyze(tmp_path, *options)
    assert result.returncode == 0, result.stderr
    study = json.loads((tmp_path / "maps" / "token_dependency.json").read_text())
    assert study["protocol"]["data"].startswith("tokens of folder train")
    assert study["protocol"]["num_images"] == 12
    assert len(study["given_one"]) == 2 * 5  # without a reference, and four by default


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
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
        ("cats", ["--data=tokens", "--num_images=13"], ["num_images", "13", "12"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(models, tmp_path, model, options, words):
    options = [
        f"--data={models / option[7:]}" if option.startswith("--data=") else option
        for option in options
    ]
    result = analyze(tmp_path, f"--model={models / model}", *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir())
