"""A linear model in place of the real ones: it compiles in no time, and the loop does not know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.data.batches import ArraySource
from lpd_jax.runtime.mesh import MeshConfig
from lpd_jax.training import loop as train_module
from lpd_jax.training.config import EveryConfig, TrainConfig
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.training.task import Task
from tests import tiny

MODEL = tiny.LPD  # only its config is used: it is saved with the checkpoints
RATE = OptimizerConfig(learning_rate=0.1, final_learning_rate=0.1)
# What is compiled runs for milliseconds: making it fast takes longer.
QUICK_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
NEVER = EveryConfig(log=0, evaluate=0, save=0, sample=0)


def init_boxed(model, key):
    return {"head": {"kernel": jax.random.normal(key, (4, 2)), "bias": jnp.zeros(2)}}


def noisy_loss(params, batch, key):
    """Each picture's error, plus noise that shows whether a resumed run draws the same keys."""
    outputs = batch["inputs"] @ params["head"]["kernel"] + params["head"]["bias"][None]
    noise = jax.random.normal(key, outputs.shape)
    loss = jnp.square(outputs + 0.1 * noise - batch["targets"]).mean()
    return loss, {"token_accuracy": (outputs > 0).mean()}


def failing_loss(params, batch, key):
    """The bias grows by 1 a step (Adam, learning rate 1), and at 3 this is no number."""
    loss = jnp.sqrt(2.5 - params["head"]["bias"][0])
    return loss, {"token_accuracy": jnp.zeros(())}


def make_task(loss=noisy_loss, examples=40) -> Task:
    rng = np.random.default_rng(0)
    arrays = {
        "inputs": rng.normal(size=(examples, 4)).astype(np.float32),
        "targets": rng.normal(size=(examples, 2)).astype(np.float32),
    }
    picture = np.zeros((8, 8, 3), np.uint8)
    source = ArraySource(arrays)

    def draw(params, first, count, sharding):
        """The first kernel weight as a grey level, the image's number as another."""
        level = float(params["head"]["kernel"][0, 0])
        images = np.full((count, 8, 8, 3), np.clip(128 + 20 * level, 0, 255), np.uint8)
        images[:, 0, 0, 0] = (first + np.arange(count)) % 256
        return images

    return Task(MODEL, source, source, loss, loss, lambda params: picture, draw)


def install(monkeypatch: pytest.MonkeyPatch, **choices) -> None:
    """Lets `train` train the toy."""
    monkeypatch.setattr(train_module, "make_task", lambda *_: make_task(**choices))
    monkeypatch.setattr(train_module, "init_boxed", init_boxed)


def config(num_steps: int, **fields) -> TrainConfig:
    """Batches of 8 on as many devices as there are."""
    fields = {"batch_size": 8, "optimizer": RATE, "every": NEVER, "mesh": MeshConfig()} | fields
    return TrainConfig(num_steps=num_steps, **fields)
