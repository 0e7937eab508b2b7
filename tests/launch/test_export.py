"""Runs become model directories."""

import dataclasses
import shutil

import chex
import numpy as np
import pytest

from lpd_jax.models.parameters import count_params
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig, config_to_json
from lpd_jax.training.export import export_run
from lpd_jax.training.workdir import write_data
from lpd_jax.weights.checkpoint import Checkpoints
from lpd_jax.weights.model_directory import load_model_directory
from lpd_jax.weights.parameters import weights_digest
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "export.py"
# The bundled data: 12 classes, 64 pixels, here 8x8 tokens of 8 pixels.
VQ = dataclasses.replace(tiny.VQ, patch_size=8)
LPD = dataclasses.replace(tiny.LPD, grid_size=(8, 8), num_classes=12)
NAMES = [f"style {i}" for i in range(LPD.num_classes)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Training runs as `train` leaves them, two checkpoints each."""
    folder = tmp_path_factory.mktemp("runs")
    generation = Generation(guidance_scale=3.0)
    run = TrainConfig(num_steps=2, batch_size=1, tokenizer="vq", generation=generation)
    lost = dataclasses.replace(run, tokenizer="moved")
    for name, model, config in (("lpd", LPD, run), ("vq", VQ, run), ("lost", LPD, lost)):
        checkpoints = Checkpoints(folder / name / "checkpoints")
        for step in (1, 2):
            state = {"params": tiny.random_params(model, seed=step), "step": np.int32(step)}
            checkpoints.save(step, state, {"position": step}, config_to_json(model, config))
        checkpoints.close()
        learned = weights_digest(tiny.random_params(VQ, seed=2), VQ) if name == "lpd" else ""
        write_data(folder / name, NAMES, learned)
    tiny.write_model_directory(folder / "other", transformer=None)
    return folder


def test_the_newest_checkpoints_of_a_run_and_of_its_tokenizer_become_a_model_directory(runs):
    result = tiny.run_python(SCRIPT, "--workdir=lpd", "--output=model", cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    files = load_model_directory(runs / "model")
    lpd, vq = (count_params(config) for config in (LPD, VQ))
    assert result.stdout.splitlines() == [
        f"transformer: {lpd:,} parameters from lpd",
        f"tokenizer: {vq:,} parameters from vq",
        "wrote model",
    ]
    chex.assert_trees_all_equal(files.transformer, tiny.random_params(LPD, seed=2))
    chex.assert_trees_all_equal(files.tokenizer, tiny.random_params(VQ, seed=2))
    assert files.config.image_size == (64, 64)
    assert list(files.config.class_names) == NAMES
    assert files.config.generation.guidance_scale == 3.0


def test_a_tokenizers_run_makes_a_directory_of_a_tokenizer(runs, tmp_path):
    result = tiny.run_python(
        SCRIPT, f"--workdir={runs / 'vq'}", "--output=model", "--dtype=float16", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    files = load_model_directory(tmp_path / "model")
    assert files.transformer is None and files.config.transformer is None
    half = tiny.random_params(VQ, seed=2)["codebook"].astype(np.float16)
    np.testing.assert_array_equal(files.tokenizer["codebook"], half)


def test_a_tokenizer_that_was_trained_on_since_is_none_that_the_run_has_learned(
    runs, tmp_path, monkeypatch
):
    shutil.copytree(runs / "lpd", tmp_path / "lpd")
    shutil.copytree(runs / "vq", tmp_path / "vq")
    checkpoints = Checkpoints(tmp_path / "vq" / "checkpoints")
    run = TrainConfig(num_steps=3, batch_size=1)
    state = {"params": tiny.random_params(VQ, seed=3), "step": np.int32(3)}
    checkpoints.save(3, state, {"position": 3}, config_to_json(VQ, run))
    checkpoints.close()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^tokenizer_workdir: missing, and 'vq' is of digest"):
        export_run("model", "lpd")
    assert not (tmp_path / "model").exists()
    export_run("model", "lpd", tokenizer_workdir="vq")  # who names it means it


# launch/export.py where the bucket `runs` is the folder it is started in.
IN_A_BUCKET = f"""
import pathlib, runpy, sys
from tests.buckets import folder_buckets
sys.argv = ["export.py", *sys.argv[1:]]
with folder_buckets(pathlib.Path.cwd().parent):
    runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def test_runs_of_a_bucket_are_exported(runs, tmp_path):
    bucket, output = f"gs://{runs.name}", f"--output={tmp_path / 'model'}"
    options = [f"--workdir={bucket}/lpd", f"--tokenizer_workdir={bucket}/vq", output]
    result = tiny.run_python("-c", IN_A_BUCKET, *options, cwd=runs)
    assert (result.returncode, result.stderr) == (0, "")
    files = load_model_directory(tmp_path / "model")
    chex.assert_trees_all_equal(files.transformer, tiny.random_params(LPD, seed=2))
    chex.assert_trees_all_equal(files.tokenizer, tiny.random_params(VQ, seed=2))
    assert list(files.config.class_names) == NAMES


WRONG = [
    (["--workdir=lpd"], "output: missing"),
    (["--output=model"], "workdir: missing"),
    (["--output=model", "--workdir=other"], "workdir: got 'other', which has no folder chec"),
    (
        ["--output=ftp://b/model", "--workdir=lpd"],
        "output: got 'ftp://b/model', allowed are folders",
    ),
    (["--output=model", "--workdir=gs:/b/lpd"], "workdir: got 'gs:/b/lpd', allowed are folders of"),
    (["--output=model", "--workdir=lost"], "tokenizer_workdir: got 'moved', which is neither"),
    (
        ["--output=model", "--workdir=lpd", "--tokenizer_workdir=other"],
        "tokenizer_workdir: got one that makes 16 pixels of the transformer's grid (8, 8)",
    ),
    (
        ["--output=model", "--workdir=vq", "--tokenizer_workdir=vq"],
        "tokenizer_workdir: got 'vq', but workdir 'vq' trains a tokenizer already",
    ),
]


@pytest.fixture(scope="module")
def refusals(runs, tmp_path_factory):
    before = sorted(runs.rglob("*"))
    cases = [(runs, [x.replace("=model", "=refused") for x in options]) for options, _ in WRONG]
    outcomes = one_process.run_cases(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))
    assert sorted(runs.rglob("*")) == before  # whichever of them wrote
    return outcomes


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_line(refusals[case], [f"export.py: {WRONG[case][1]}"])
