import json

import pytest

from lpd_jax import bundled
from lpd_jax.model_directory import save_model_directory
from lpd_jax.models import registry
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.tokenizer import VQConfig
from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "study_steps.py"

# A sixtieth of the pictures: the script as it is, in seconds.
FEW_PICTURES = """
import runpy, sys
from lpd_jax import bundled
load_all = bundled.load_avatars
bundled.load_avatars = lambda split: tuple(part[::60] for part in load_all(split))
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# 4x4 tokens of 16 pixels, so that its pictures have the size of the avatars.
LPD = LPDConfig(
    num_layers=1,
    embed_dim=16,
    num_heads=2,
    mlp_ratio=2,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(bundled.CLASS_NAMES),
)
VQ = VQConfig(
    base_channels=32,
    channel_multipliers=(1, 1, 1, 1, 1),
    num_res_blocks=1,
    z_channels=32,
    codebook_size=32,
)
GENERATION = {"order": "locality", "num_steps": 4, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "avatars"
    config = {
        "image_size": [64, 64],
        "class_names": list(bundled.CLASS_NAMES),
        "transformer": registry.config_to_dict(LPD),
        "tokenizer": registry.config_to_dict(VQ),
        "generation": GENERATION,
    }
    save_model_directory(path, config, tiny.random_params(LPD), tiny.random_params(VQ))
    return path


def study(model, folder, *options):
    driver = f"import sys; sys.argv[0] = {str(SCRIPT)!r}" + FEW_PICTURES
    options = ("--num_images=12", "--orders=raster,locality", "--output=s", *options)
    return tiny.run_python("-c", driver, f"--model={model}", *options, cwd=folder)


@pytest.mark.slow  # two processes that compile
def test_writes_table_plot_and_numbers_and_does_no_point_twice(model, tmp_path):
    result = study(model, tmp_path, "--steps=2")
    assert result.returncode == 0, result.stderr
    assert "real validation pictures" in result.stdout
    names = {f"s_against_quality.{kind}" for kind in ("json", "md", "png")} | {"s_cache.json"}
    assert {file.name for file in tmp_path.iterdir()} == names
    first = json.loads((tmp_path / "s_against_quality.json").read_text())
    assert [(row["num_steps"], row["order"]) for row in first["points"]] == [
        (2, "raster"),
        (2, "locality"),
    ]
    assert first["protocol"]["guidance_scale"] == 2.0 and first["protocol"]["commit"]

    cache = tmp_path / "s_cache.json"
    known = json.loads(cache.read_text())
    for row in known.values():
        row["frechet_distance"] = 123.0  # a point that is drawn again loses this mark
    cache.write_text(json.dumps(known))
    assert study(model, tmp_path, "--steps=2").returncode == 0
    again = json.loads((tmp_path / "s_against_quality.json").read_text())
    assert {row["frechet_distance"] for row in again["points"]} == {123.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num_images=25"], ["num_images", "25", "12 classes"]),
        (["--steps=17"], ["num_steps", "17", "16"]),
        (["--steps=four"], ["steps", "'four'", "whole numbers"]),
        (["--orders=spiral"], ["order", "spiral", "halton"]),
        (["--guidance_scale=-1"], ["guidance_scale", "-1"]),
        (["--output=nowhere/s"], ["output", "nowhere"]),
        (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(model, tmp_path, options, words):
    result = tiny.run_python(SCRIPT, f"--model={model}", "--output=s", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_classes_is_refused(tmp_path, tmp_path_factory):
    cats = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    result = tiny.run_python(SCRIPT, f"--model={cats}", "--output=s", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "'cat'" in result.stderr and "pixelArt" in result.stderr
    assert not list(tmp_path.iterdir())
