import dataclasses

import chex
import numpy as np
import pytest

from lpd_jax.checkpoint import Checkpoints
from lpd_jax.model_directory import load_model_directory
from lpd_jax.training.config import GenerationConfig, TrainConfig, config_to_json
from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "export.py"
# The bundled data: 12 classes, 64 pixels, here 8x8 tokens of 8 pixels.
VQ = dataclasses.replace(tiny.VQ, patch_size=4)
LPD = dataclasses.replace(tiny.LPD, grid_size=(8, 8), num_classes=12)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two training runs as `train` leaves them, two checkpoints each."""
    folder = tmp_path_factory.mktemp("runs")
    run = TrainConfig(num_steps=2, batch_size=1, generation=GenerationConfig(guidance_scale=3.0))
    for name, model in (("lpd", LPD), ("vq", VQ)):
        checkpoints = Checkpoints(folder / name / "checkpoints")
        for step in (1, 2):
            state = {"params": tiny.random_params(model, seed=step), "step": np.int32(step)}
            checkpoints.save(step, state, {"position": step}, config_to_json(model, run))
        checkpoints.close()
    return folder


def test_the_newest_checkpoints_become_a_model_directory(runs, tmp_path):
    result = tiny.run_python(
        SCRIPT,
        f"--workdir={runs / 'lpd'}",
        f"--tokenizer_workdir={runs / 'vq'}",
        "--output=model",
        cwd=tmp_path,
    )
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "wrote model"), result.stderr
    files = load_model_directory(tmp_path / "model")
    chex.assert_trees_all_equal(files.transformer, tiny.random_params(LPD, seed=2))
    chex.assert_trees_all_equal(files.tokenizer, tiny.random_params(VQ, seed=2))
    assert files.config["image_size"] == [64, 64]
    assert files.config["class_names"][:2] == ["pixelArt", "lorelei"]
    assert files.config["generation"]["guidance_scale"] == 3.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workdir=lpd"], ["output: not given"]),
        (["--output=model"], ["workdir, tokenizer_workdir: neither is given"]),
        (["--output=model", "--workdir=vq"], ["workdir: got 'vq', which trains no transformer"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(runs, options, words):
    result = tiny.run_python(SCRIPT, *options, cwd=runs)
    assert (result.returncode, result.stdout) == (2, "")
    for word in words:
        assert word in result.stderr.splitlines()[-1]
    assert not (runs / "model").exists()
