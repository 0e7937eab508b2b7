"""What is trained: arrays to learn from, losses, and the pictures that show progress."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.images import image_grid, to_model_range, to_uint8
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
    draw_samples: Callable[[Any], np.ndarray]  # params -> picture, uint8 [H, W, C]


def make_task(model: ModelConfig, config: TrainConfig, workdir: pathlib.Path) -> Task:
    """The task that a model's family calls for."""
    if isinstance(model, VQConfig):
        return tokenizer_task(model, config)
    return lpd_task(model, config, workdir)


def tokenizer_task(model: VQConfig, config: TrainConfig) -> Task:
    """Reconstruct images; samples are pairs of rows, originals above reconstructions."""
    training = load_dataset(config.data, "train")
    validation = load_dataset(config.data, "validation")
    loss_function = make_tokenizer_loss(model, config.tokenizer_loss)
    spread = np.linspace(0, len(validation["images"]) - 1, NUM_SAMPLES).astype(int)
    originals = validation["images"][spread]

    @jax.jit
    def reconstruct(params, images):
        return to_uint8(VQTokenizer(model).apply({"params": params}, to_model_range(images))[0])

    def draw_samples(params: Any) -> np.ndarray:
        half = NUM_SAMPLES // 2
        rebuilt = np.asarray(reconstruct(params, originals))
        rows = [originals[:half], rebuilt[:half], originals[half:], rebuilt[half:]]
        return image_grid(np.concatenate(rows), columns=half)

    return Task(model, training, validation, loss_function, loss_function, draw_samples)


def lpd_task(model: LPDConfig, config: TrainConfig, workdir: pathlib.Path) -> Task:
    """Predict tokens; samples are pictures of every class, drawn as the model will draw."""
    tokenizer = load_weights(config.tokenizer, "tokenizer", "tokenizer")
    check_classes(model, config)
    training, validation = (
        cached_tokens(tokenizer, load_dataset(config.data, split), split, model, workdir)
        for split in ("train", "validation")
    )
    choices = config.generation
    schedule = make_schedule(model.num_tokens, choices.num_steps)
    sampling = Sampling.make(choices.temperature, choices.top_k, choices.top_p)
    guidance = Guidance.make(choices.guidance_scale, choices.guidance_schedule)
    labels_B = jnp.arange(NUM_SAMPLES) % model.num_classes
    order_BN = make_order(choices.order, model.grid_size, schedule, num_orders=NUM_SAMPLES)

    def draw_samples(params: Any) -> np.ndarray:
        images_BHWC, _ = generate_images(
            model,
            params,
            *tokenizer,
            labels_B,
            jnp.asarray(order_BN),
            image_keys(config.seed, 0, NUM_SAMPLES),
            schedule=schedule,
            sampling=sampling,
            guidance=guidance,
        )
        return image_grid(np.asarray(images_BHWC), columns=NUM_SAMPLES // 2)

    training_loss, validation_loss = (make_lpd_loss(model, train) for train in (True, False))
    return Task(model, training, validation, training_loss, validation_loss, draw_samples)


def check_classes(model: LPDConfig, config: TrainConfig) -> None:
    """Raises ValueError where the labels of the dataset are not the classes of the model."""
    count = int(load_dataset(config.data, "train")["labels"].max()) + 1
    if count != model.num_classes:
        raise ValueError(
            f"model.num_classes: got {model.num_classes}, allowed is {count}, as "
            f"{config.data.dataset} has them"
        )
