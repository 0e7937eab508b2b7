"""Clips to the end: a tokenizer learns from files, then a PAR from its tokens."""

import dataclasses

import chex
import numpy as np
import pytest
from PIL import Image

import lpd_jax
from lpd_jax.data.data_config import DataConfig
from lpd_jax.evaluation.fid import FIDConfig
from lpd_jax.evaluation.while_training import EvaluationConfig
from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.discriminator import DiscriminatorConfig
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.training.config import EveryConfig, TrainConfig
from lpd_jax.training.export import export_run
from lpd_jax.training.loop import train
from tests import tiny
from tests.clip_writer import write_clip
from tests.training import test_clip_tokenizer

PAR = dataclasses.replace(tiny.PAR, grid_size=(2, 4, 4), num_classes=2)
ADVERSE = {
    "tokenizer_loss": TokenizerLossConfig(l1_weight=1.0),
    "adversarial": AdversarialConfig(start_step=2, lecam_weight=0.05),
    "discriminator": DiscriminatorConfig(channels=4, num_layers=1, frames=True),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for split in ("train", "val"):
        for name in [f"{('jump', 'wave')[i % 2]}/{i}" for i in range(8)]:
            write_clip(root / split / f"{name}.mp4", 40)
    return DataConfig(
        dataset="clips", path=str(root), image_size=16, num_frames=5, frame_rate=5.0, num_threads=0
    )


def run(data, **fields):
    every = EveryConfig(log=1, evaluate=2, save=2, sample=2)
    return TrainConfig(num_steps=2, batch_size=8, data=data, every=every, **fields)


@pytest.mark.slow
def test_a_tokenizer_and_a_transformer_learn_from_clips(data, tmp_path):
    views = dataclasses.replace(data, random_views=True)
    train(tiny.VIDEO, run(views, **ADVERSE), tmp_path / "tokenizer")
    export_run(tmp_path / "models" / "tokenizer", tmp_path / "tokenizer")
    config = run(data, tokenizer=str(tmp_path / "models" / "tokenizer"))
    train(PAR, config, tmp_path / "par")
    export_run(tmp_path / "models" / "par", tmp_path / "par")
    for part in ("tokenizer", "par"):
        (sample, *_) = (tmp_path / part / "samples").glob("*.png")
        assert np.asarray(Image.open(sample)).std() > 1
    pipe = lpd_jax.Pipeline.from_pretrained(tmp_path / "models" / "par")
    assert pipe.class_names == ["jump", "wave"]
    assert pipe(["wave"]).shape == (1, 5, 16, 16, 3)


EXPERIMENTS = {
    "temporal groups": dataclasses.replace(PAR, num_parallel=2, region_split=(2, 1, 1)),
    "LPD": dataclasses.replace(tiny.LPD, grid_size=(2, 4, 4), num_classes=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_train_a_step_and_draw(name, data, tmp_path):
    tokenizer = tiny.write_model_directory(tmp_path / "video", None, tiny.VIDEO, (5, 16, 16))
    share = 0.5 if name == "LPD" else 0.0
    config = run(data, tokenizer=str(tokenizer), locality_share=share)
    train(EXPERIMENTS[name], dataclasses.replace(config, num_steps=1), tmp_path / "run")
    (sample,) = (tmp_path / "run" / "samples").glob("*.png")
    assert np.asarray(Image.open(sample)).std() > 1
    export_run(tmp_path / "model", tmp_path / "run")
    pipe = lpd_jax.Pipeline.from_pretrained(tmp_path / "model")
    clips_BTHWC = pipe(["wave", "jump"])
    assert clips_BTHWC.shape == (2, 5, 16, 16, 3) and clips_BTHWC.std() > 1
    if name == "LPD":
        with pytest.raises(ValueError, match="got a model of clips, allowed for editing are those"):
            pipe.inpaint(clips_BTHWC[0, 0], ["wave"], box=(0, 0, 8, 8))


@pytest.mark.slow
def test_a_resumed_run_with_a_discriminator_is_the_unbroken_one(data, tmp_path):
    """Bit for bit, what LeCAM keeps and the statistics of the discriminator too."""
    model = test_clip_tokenizer.MODEL
    whole = train(model, run(data, **ADVERSE), tmp_path / "whole")
    for last in (1, 2):
        config = dataclasses.replace(run(data, **ADVERSE), num_steps=last)
        parts = train(model, config, tmp_path / "parts")
    chex.assert_trees_all_equal(parts, whole)
    assert float(whole.adversary.lecam.real) != 0


@pytest.mark.parametrize(
    ("section", "asked", "message"),
    [
        ("fid", FIDConfig, r"^fid.num_images: got 8, allowed where images are clips is 0; evalu"),
        ("evaluation", EvaluationConfig, r"^evaluation.network: got 'avatars12', which judges pic"),
    ],
)
def test_what_judges_pictures_does_not_judge_clips(section, asked, message, data, tmp_path):
    fields = {section: asked(num_images=8, network="avatars12")}
    with pytest.raises(ValueError, match=message):
        train(tiny.VIDEO, run(data, **fields), tmp_path / "run")


def test_a_tokenizer_of_pictures_does_not_take_clips(data, tmp_path):
    with pytest.raises(ValueError, match="^data.image_size: got 5x16x16 pixels, allowed are a hei"):
        train(tiny.VQ, run(data), tmp_path / "run")
    assert not list(tmp_path.glob("run/checkpoints/*"))
