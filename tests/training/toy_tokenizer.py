"""A tokenizer of one 3x3 matrix against a real, small discriminator: it compiles quickly."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.data.batches import ArraySource
from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.discriminator import DiscriminatorConfig
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.tokenizer_loss import LossParts, Rebuilt, code_shares, whole_loss
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.training import loop as train_module
from lpd_jax.training.config import EveryConfig, TrainConfig
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.training.task import Task
from lpd_jax.training.tokenizer_updates import make_rule
from lpd_jax.training.update_rule import UpdateRule
from tests import tiny

MODEL = tiny.VQ  # its codebook counts, and that it is saved with the checkpoints
NUM_CODES = MODEL.codebook_size


def init_boxed(model: Any, key: jax.Array) -> dict[str, Any]:
    del model
    return {
        "decoder": {"conv_out": {"kernel": jnp.eye(3) + 0.3 * jax.random.normal(key, (3, 3))}},
        "codebook": jax.random.normal(key, (NUM_CODES, 2)),
    }


def rebuild(params: Any, images_BHWC: jax.Array) -> Rebuilt:
    """Colours times a matrix; a picture's mean grey chooses a code of the upper half."""
    rebuilt_BHWC = jnp.tanh(images_BHWC @ params["decoder"]["conv_out"]["kernel"])
    level_B = (images_BHWC.mean((1, 2, 3)) + 0.5).clip(0, 0.99)
    tokens_B = (NUM_CODES / 2 * (1 + level_B)).astype(jnp.int32)
    code_loss = 0.1 * jnp.square(params["codebook"]).mean()
    return Rebuilt(rebuilt_BHWC, code_loss, code_shares(tokens_B, NUM_CODES))


def compare(rebuilt_BHWC: jax.Array, images_BHWC: jax.Array):
    l2 = jnp.square(rebuilt_BHWC - images_BHWC).mean()
    return l2, {"l2": l2}


PARTS = LossParts(rebuild, compare, ("decoder", "conv_out", "kernel"))


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, 8, 8, 3)).astype(np.uint8)


def config(num_steps: int, **fields: Any) -> TrainConfig:
    """Everything there is: two optimizers, an average, statistics, codes that start again."""
    fields = {
        "batch_size": 8,
        "optimizer": OptimizerConfig(learning_rate=0.01, final_learning_rate=0.01),
        "every": EveryConfig(log=0, evaluate=0, save=0, sample=0),
        "adversarial": AdversarialConfig(start_step=3, adaptive=True, lecam_weight=0.05),
        "discriminator": DiscriminatorConfig(channels=4, num_layers=1),
        "ema_decay": 0.9,
        "tokenizer_loss": TokenizerLossConfig(restart_below=0.05),
    } | fields
    return TrainConfig(num_steps=num_steps, **fields)


def make_task(config: TrainConfig) -> Task:
    source = ArraySource({"images": images()})
    rule = make_rule(tokenizer_of(MODEL), config)

    def step(state, batch, key):
        return rule.step(PARTS, state, batch, key)

    picture = np.zeros((8, 8, 3), np.uint8)
    loss = whole_loss(PARTS)

    def judge(params, batch, key):
        return loss(params, batch, key)[0], {}

    return Task(
        MODEL,
        source,
        source,
        judge,
        judge,
        lambda params: picture,
        lambda params, first, count, sharding: images(count),
        rule=UpdateRule(rule.init, step),
    )


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `train` train the toy."""
    monkeypatch.setattr(train_module, "make_task", lambda model, config, *_: make_task(config))
    monkeypatch.setattr(train_module, "init_boxed", init_boxed)
