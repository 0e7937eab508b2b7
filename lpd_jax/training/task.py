"""What is trained: records to learn from, losses, and the pictures that show progress."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.data.batches import Source
from lpd_jax.data.pictures import image_size, open_images
from lpd_jax.data.token_cache import (
    TokenSource,
    check_cache,
    check_views,
    open_token_cache,
    tokenizer_digest,
)
from lpd_jax.data.token_writer import Exchange, plan_cache, write_token_cache
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.evaluation.fid import check_image_size
from lpd_jax.generation.generate import generate_images, image_keys
from lpd_jax.generation.request import (
    check_output_size,
    generation_choices,
    resolve_order,
    resolve_schedule,
)
from lpd_jax.images import image_grid, to_model_range, to_uint8
from lpd_jax.models.family import ModelConfig, TransformerConfig
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import fetch, spread
from lpd_jax.training.compute_config import transformer_options
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.losses import make_token_loss, make_tokenizer_loss
from lpd_jax.training.train_step import LossFunction
from lpd_jax.weights.loading import Weights, load_weights

NUM_SAMPLES = 24
SPLITS = ("train", "validation")
TOKENS_FOLDER = "tokens"  # in the workdir of a run that encodes images itself


# (parameters, first, count, sharding) -> uint8 [count, H, W, 3]: images first, first + 1, ... of an
# endless row that stays the same; on all devices, where the sharding of a batch is given.
Draw = Callable[[Any, int, int, jax.sharding.NamedSharding | None], np.ndarray]


class Task(NamedTuple):
    """All that the training loop needs to know of what it trains."""

    model: ModelConfig
    training: Source
    validation: Source
    training_loss: LossFunction
    validation_loss: LossFunction
    draw_samples: Callable[[Any], np.ndarray]  # params -> picture, uint8 [H, W, C]
    draw: Draw


def make_task(
    model: ModelConfig,
    config: TrainConfig,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
) -> Task:
    """The task that a model's family calls for; `exchange` is that of `write_token_cache`."""
    if isinstance(model, VQConfig):
        return tokenizer_task(model, config)
    return token_task(model, config, workdir, exchange)


def tokenizer_task(model: VQConfig, config: TrainConfig) -> Task:
    """Reconstruct images; samples are pairs of rows, originals above reconstructions."""
    check_image_size(config.fid, image_size(config.data))
    training, validation = (open_images(config.data, split) for split in SPLITS)
    if config.fid.num_images > len(validation):
        raise UserError(
            f"fid.num_images: got {config.fid.num_images}, allowed is at most the "
            f"{len(validation)} validation images, which a tokenizer is judged by"
        )
    loss_function = make_tokenizer_loss(model, config.tokenizer_loss)
    shown = np.linspace(0, len(validation) - 1, NUM_SAMPLES).astype(int).tolist()
    originals = np.stack([validation[i]["image"] for i in shown])

    @jax.jit
    def reconstruct(params, images):
        return to_uint8(VQTokenizer(model).apply({"params": params}, to_model_range(images))[0])

    def draw_samples(params: Any) -> np.ndarray:
        half = NUM_SAMPLES // 2
        rebuilt = fetch(reconstruct(params, originals))
        rows = [originals[:half], rebuilt[:half], originals[half:], rebuilt[half:]]
        return image_grid(np.concatenate(rows), columns=half)

    def draw(params, first, count, sharding):
        rows = (first + np.arange(count)) % len(validation)
        images_BHWC = np.stack([validation[int(row)]["image"] for row in rows])
        return fetch(reconstruct(params, spread(images_BHWC, sharding)))

    return Task(model, training, validation, loss_function, loss_function, draw_samples, draw)


def token_task(
    model: TransformerConfig,
    config: TrainConfig,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
) -> Task:
    """Predict tokens; samples are pictures of every class, drawn as the model will draw."""
    tokenizer = load_weights(config.tokenizer, "tokenizer", "tokenizer")
    # What the config asks for in vain is refused before any image is encoded.
    options = transformer_options(config.compute, model)
    training_loss, validation_loss = (
        make_token_loss(model, train, **options) for train in (True, False)
    )
    size = check_output_size(config.generation.output_size)
    check_image_size(config.fid, size or model.grid_size[0] * tokenizer.config.downsample_factor)
    draw = make_sampler(model, config, tokenizer)

    def draw_samples(params: Any) -> np.ndarray:
        return image_grid(draw(params, 0, NUM_SAMPLES, None), columns=NUM_SAMPLES // 2)

    training, validation = open_tokens(model, config, tokenizer, workdir, exchange)
    return Task(model, training, validation, training_loss, validation_loss, draw_samples, draw)


def make_sampler(model: TransformerConfig, config: TrainConfig, tokenizer: Weights) -> Draw:
    """Draws classes in turn, each image in an order and with random numbers of its own."""
    choices = generation_choices(model, vars(config.generation))
    schedule = resolve_schedule(model, choices["num_steps"])
    sampling = Sampling.make(choices["temperature"], choices["top_k"], choices["top_p"])
    guidance = Guidance.make(choices["guidance_scale"], choices["guidance_schedule"])
    make_orders = functools.partial(resolve_order, model, choices, schedule)
    make_orders(1, 0)  # refuses now what it would refuse then

    def draw(params, first, count, sharding):
        labels_B = (first + np.arange(count, dtype=np.int32)) % model.num_classes
        keys_B = jax.random.key_data(image_keys(config.seed, first, count))
        inputs = [labels_B, make_orders(count, first), np.asarray(keys_B)]
        labels_B, order_BN, keys_B = (spread(x, sharding) for x in inputs)
        images_BHWC, _ = generate_images(
            model,
            params,
            *tokenizer,
            labels_B,
            order_BN,
            jax.random.wrap_key_data(keys_B),
            schedule=schedule,
            sampling=sampling,
            guidance=guidance,
            output_size=choices["output_size"],
        )
        return fetch(images_BHWC)

    return draw


def open_tokens(
    model: TransformerConfig,
    config: TrainConfig,
    tokenizer: Weights,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
) -> list[TokenSource]:
    """Both splits as tokens: from the cache that the config names, or from images, encoded now.

    What is encoded goes to `workdir/tokens/<split>`; a run that is resumed finds it there.

    Raises:
        ValueError: tokens that are not of this tokenizer, or not what the model is to learn.
    """
    data, digest = config.data, tokenizer_digest(tokenizer)
    if data.dataset == "tokens":
        names = (data.train_split or "train", data.validation_split or "validation")
        root = pathlib.Path(data.path).expanduser()
        caches = [open_token_cache(root / name) for name in names]
        check_views(caches[0].settings, data.random_views)
        for cache in caches:
            check_cache(cache.settings, model, digest)
        return caches
    views = {"train": "mirror" if data.random_views else "one", "validation": "one"}
    jobs = {split: plan_cache(tokenizer, data, split, views[split]) for split in SPLITS}
    for job in jobs.values():
        check_cache(job.settings, model, digest)
    folders = [workdir / TOKENS_FOLDER / split for split in SPLITS]
    for folder, job in zip(folders, jobs.values(), strict=True):
        write_token_cache(folder, job, num_threads=data.num_threads, exchange=exchange)
    return [open_token_cache(folder) for folder in folders]
