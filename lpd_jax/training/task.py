"""What is trained: arrays to learn from, losses, and the pictures that show progress."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.images import image_grid, save_png, to_model_range, to_uint8
from lpd_jax.models.registry import ModelConfig
from lpd_jax.models.tokenizer import VQConfig, VQTokenizer
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.data import load_dataset
from lpd_jax.training.objectives import make_tokenizer_loss
from lpd_jax.training.train_step import LossFunction

NUM_SAMPLES = 24


class Task(NamedTuple):
    """All that the training loop needs to know of what it trains."""

    model: ModelConfig
    training_arrays: Mapping[str, np.ndarray]
    validation_arrays: Mapping[str, np.ndarray]
    training_loss: LossFunction
    validation_loss: LossFunction
    write_samples: Callable[[Any, int], None]  # (params, step)


def make_task(model: ModelConfig, config: TrainConfig, workdir: pathlib.Path) -> Task:
    """The task that a model's family calls for."""
    if isinstance(model, VQConfig):
        return tokenizer_task(model, config, workdir)
    raise ValueError(f"model: got {type(model).__name__}, which cannot be trained yet")


def tokenizer_task(model: VQConfig, config: TrainConfig, workdir: pathlib.Path) -> Task:
    """Reconstruct images; samples are pairs of rows, originals above reconstructions."""
    training = load_dataset(config.data, "train")
    validation = load_dataset(config.data, "validation")
    loss_function = make_tokenizer_loss(model, config.tokenizer_loss)
    spread = np.linspace(0, len(validation["images"]) - 1, NUM_SAMPLES).astype(int)
    originals = validation["images"][spread]

    @jax.jit
    def reconstruct(params, images):
        return to_uint8(VQTokenizer(model).apply({"params": params}, to_model_range(images))[0])

    def write_samples(params: Any, step: int) -> None:
        half = NUM_SAMPLES // 2
        rebuilt = np.asarray(reconstruct(params, originals))
        rows = [originals[:half], rebuilt[:half], originals[half:], rebuilt[half:]]
        save_samples(workdir, step, image_grid(np.concatenate(rows), columns=half))

    return Task(model, training, validation, loss_function, loss_function, write_samples)


def save_samples(workdir: pathlib.Path, step: int, picture: np.ndarray) -> None:
    folder = workdir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / f"step_{step:07d}.png", picture)
