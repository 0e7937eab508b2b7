"""What is trained: arrays to learn from, losses, and the pictures that show progress."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.images import image_grid, save_png, to_model_range, to_uint8
from lpd_jax.models.generate import generate_images, image_keys
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.registry import ModelConfig
from lpd_jax.models.tokenizer import VQConfig, VQTokenizer
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.data import load_dataset
from lpd_jax.training.objectives import make_lpd_loss, make_tokenizer_loss
from lpd_jax.training.token_cache import cached_tokens
from lpd_jax.training.train_step import LossFunction
from lpd_jax.training.weights import load_weights

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
    return lpd_task(model, config, workdir)


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


def lpd_task(model: LPDConfig, config: TrainConfig, workdir: pathlib.Path) -> Task:
    """Predict tokens; samples are pictures of every class, drawn as the model will draw."""
    tokenizer = load_weights(config.tokenizer, "tokenizer", "tokenizer")
    arrays = [
        cached_tokens(tokenizer, load_dataset(config.data, split), split, model, workdir)
        for split in ("train", "validation")
    ]
    choices = config.generation
    schedule = make_schedule(model.num_tokens, choices.num_steps)
    sampling = Sampling.make(choices.temperature, choices.top_k, choices.top_p)
    guidance = Guidance.make(choices.guidance_scale, choices.guidance_schedule)
    labels_B = np.arange(NUM_SAMPLES, dtype=np.int32) % model.num_classes
    order_BN = make_order(choices.order, model.grid_size, schedule, num_orders=NUM_SAMPLES)

    def write_samples(params: Any, step: int) -> None:
        images_BHWC, _ = generate_images(
            model,
            params,
            *tokenizer,
            labels_B,
            order_BN,
            image_keys(config.seed, 0, NUM_SAMPLES),
            schedule=schedule,
            sampling=sampling,
            guidance=guidance,
        )
        save_samples(workdir, step, image_grid(np.asarray(images_BHWC), columns=NUM_SAMPLES // 2))

    return Task(
        model,
        *arrays,
        make_lpd_loss(model, train=True),
        make_lpd_loss(model, train=False),
        write_samples,
    )


def save_samples(workdir: pathlib.Path, step: int, picture: np.ndarray) -> None:
    folder = workdir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / f"step_{step:07d}.png", picture)
