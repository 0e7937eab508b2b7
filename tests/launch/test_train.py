"""From pictures to pictures: tokenizer, transformer, model directory, all by the scripts."""

import dataclasses
import textwrap

import numpy as np
import pytest
from PIL import Image

import lpd_jax
from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "train.py"
# launch/train.py on 48 and 24 of the pictures.
ON_FEW_PICTURES = """
import runpy, sys
from lpd_jax.data import pictures

def load_few(split, load_avatars=pictures.load_avatars):
    images, labels = load_avatars(split)
    rows = {{"train": slice(None, None, 225), "validation": slice(None, None, 50)}}[split]
    return images[rows], labels[rows]

pictures.load_avatars = load_few
sys.argv = [{script!r}, *sys.argv[1:]]
runpy.run_path({script!r}, run_name="__main__")
"""
# 64 pixels as 4x4 tokens of 16.
VQ_CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({
        "num_steps": 2,
        "batch_size": 8,
        "model": {
            "family": "vq", "base_channels": 32, "channel_multipliers": (1,), "num_res_blocks": 1,
            "z_channels": 32, "codebook_size": 32, "patch_size": 16,
        },
        "tokenizer_loss": {"l1_weight": 0.5, "entropy_weight": 0.1},
    })
"""
LPD_CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({
        "num_steps": 2,
        "batch_size": 8,
        "tokenizer": "vq",
        "model": {
            "family": "lpd", "num_layers": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2,
            "grid_size": (4, 4), "codebook_size": 32, "num_classes": 12,
        },
        "generation": {"num_steps": 4, "guidance_scale": 2.0},
        "every": {"sample": 1},
    })
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    (folder / "vq.py").write_text(textwrap.dedent(VQ_CONFIG))
    (folder / "lpd.py").write_text(textwrap.dedent(LPD_CONFIG))
    # A tokenizer that no other test has to train first.
    ready = dataclasses.replace(tiny.VQ, channel_multipliers=(1,), patch_size=16)
    tiny.write_model_directory(folder / "ready", None, ready, image_size=(64, 64))
    # The codebook is left to it, which is read before the step is made.
    text = LPD_CONFIG.replace('"vq"', '"ready"').replace(
        '"codebook_size": 32', '"codebook_size": 0'
    )
    (folder / "lpd_ready.py").write_text(text)
    return folder


def train(folder, name, *options):
    script = ON_FEW_PICTURES.format(script=str(SCRIPT))
    return tiny.run_python(
        "-c", script, f"--config={name}.py", f"--workdir={name}", *options, cwd=folder
    )


def check_run(result, folder, name, steps):
    """Two lines of ours and the bars: nothing of the libraries' own."""
    assert result.returncode == 0, result.stderr
    first, *validations = result.stdout.splitlines()
    assert "parameters, 48 examples, batch 8 on 1 devices" in first
    assert [line.split(":")[0] for line in validations] == [f"step {steps[-1]} validation"]
    noise = [
        x for x in result.stderr.replace("\r", "\n").splitlines() if x.strip() and "image" not in x
    ]
    assert not noise
    pictures = sorted((folder / name / "samples").iterdir())
    assert [path.name for path in pictures] == [f"step_{step:07d}.png" for step in steps]
    with Image.open(pictures[0]) as picture:
        assert picture.width > 12 * 64
    assert list((folder / name).glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_tokenizer_then_transformer_then_model_directory(folder):
    check_run(train(folder, "vq"), folder, "vq", [2])
    check_run(train(folder, "lpd"), folder, "lpd", [1, 2])
    export = tiny.REPOSITORY / "launch" / "export.py"
    result = tiny.run_python(export, "--workdir=lpd", "--output=model", cwd=folder)
    assert result.returncode == 0, result.stderr
    pipe = lpd_jax.Pipeline.from_pretrained(folder / "model")
    images = pipe(["lorelei", 4], seed=1)
    assert images.shape == (2, 64, 64, 3) and images.dtype == np.uint8


def test_a_loss_that_is_no_number_is_one_line(folder):
    script = f"""
import runpy, sys, pytest
from tests.training import toy
toy.install(pytest.MonkeyPatch(), loss=toy.failing_loss)
sys.argv = ["train.py", *sys.argv[1:]]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    (folder / "toy.py").write_text(
        LPD_CONFIG.replace('"num_steps": 2', '"num_steps": 9, "optimizer": {"learning_rate": 1.0}')
    )
    result = tiny.run_python("-c", script, "--config=toy.py", "--workdir=toy", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "train.py: step 4: loss is nan; training stops; no checkpoint is there yet: the same "
        "command starts anew, and with a lower --config.optimizer.learning_rate or "
        "--config.optimizer.clip_norm, or with --config.compute.dtype=float32, it may get further"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "option", "words"),
    [
        ("vq", "--config.batch_size=many", "batch_size"),
        (
            "vq",
            "--config.model.codebook=3",
            "model.codebook: got an unknown field, allowed are ",
        ),
        ("lpd", "--config.tokenizer=nowhere", "tokenizer: got 'nowhere', which is neither"),
        # Of sections that the file leaves out.
        ("lpd", "--config.compute.dtype=int8", "compute.dtype: got 'int8', allowed are float32"),
        ("lpd", "--config.evalution.suites=adm", "evalution: got an unknown field, allowed are "),
        ("lpd", "--config.model.grid_size[0]=5", "config.model.grid_size[0]: got an unknown"),
        # Not the steps of training.
        ("lpd_ready", "--config.generation.num_steps=40", "generation.num_steps: got 40, allowed"),
        ("lpd_ready", "--config.model.num_heads=3", "model.num_heads: got 3, allowed are divisors"),
        ("lpd_ready", "--config.model.num_classes=3", "model.num_classes: got 3, allowed is 12"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(folder, name, option, words):
    before = sorted(folder.rglob("*"))
    result = train(folder, name, option, f"--workdir={folder / 'new'}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("train.py: ") and words in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
