"""What is trained: records to learn from, losses, and the pictures that show progress."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.data.batches import Source
from lpd_jax.data.pictures import image_shape, image_size, open_images
from lpd_jax.data.token_cache import (
    TokenSource,
    check_cache,
    check_splits,
    check_views,
    open_token_cache,
)
from lpd_jax.data.token_plan import plan_cache, write_token_cache
from lpd_jax.data.token_writer import Exchange
from lpd_jax.evaluation.fid import check_image_size
from lpd_jax.evaluation.file_lists import evenly
from lpd_jax.evaluation.while_training import plan_for, planned_draw
from lpd_jax.generation.generate import generate_images, image_keys
from lpd_jax.images import image_grid
from lpd_jax.models.family import is_tokenizer, tokenizer_of, transformer_of
from lpd_jax.models.order_mix import OrderMix, locality_mix
from lpd_jax.models.tokenizer_loss import summarize_codes
from lpd_jax.models.transformer_family import Family, LossFunction, TransformerConfig
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.config_fields import in_section
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import fetch, spread
from lpd_jax.runtime.random_keys import wrap_random_keys
from lpd_jax.training.compute_config import check_for_tokenizer, loss_options
from lpd_jax.training.config import TrainConfig, check_clips
from lpd_jax.training.optimizer import make_optimizer
from lpd_jax.training.tokenizer_updates import tokenizer_updates
from lpd_jax.training.update_rule import UpdateRule, one_optimizer
from lpd_jax.weights.loading import Weights, load_weights
from lpd_jax.weights.parameters import weights_digest

NUM_SAMPLES = 24
SPLITS = ("train", "validation")
TOKENS_FOLDER = "tokens"  # in the workdir of a run that encodes images itself


# (parameters, first, count, sharding) -> uint8 [count, H, W, 3]: images first, first + 1, ... of an
# endless row that stays the same; on all devices, where the sharding of a batch is given.
Draw = Callable[[Any, int, int, jax.sharding.NamedSharding | None], np.ndarray]
# (digest of the tokenizer, names of the classes): raises UserError for those that do not fit.
CheckLearned = Callable[[str, Sequence[str]], None]


class Task(NamedTuple):
    """All that the training loop needs to know of what it trains."""

    model: Any  # its config
    training: Source
    validation: Source
    training_loss: LossFunction
    validation_loss: LossFunction
    draw_samples: Callable[[Any], np.ndarray]  # params -> picture, uint8 [H, W, C]
    draw: Draw
    draw_judged: Draw | None = None  # the pictures of `evaluation`, where they are others
    judged_size: tuple[int, ...] | None = None  # of those
    tokenizer: str = ""  # digest of what makes the transformer's tokens
    rule: UpdateRule | None = None  # None: one optimizer makes the training loss small
    summarize: Callable[[dict], dict] = dict  # mean metrics of the validation set -> numbers


def any_fit(digest: str, class_names: Sequence[str]) -> None:
    """Of a run that has learned nothing yet."""


def make_task(
    model: Any,
    config: TrainConfig,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
    check_learned: CheckLearned = any_fit,
) -> Task:
    """The task of a model: pictures for a tokenizer, their tokens for a transformer.

    Args:
        workdir: local; gets tokens that the run encodes itself.
        exchange: see `write_token_cache`.
        check_learned: of a transformer, called before any image is encoded.
    """
    if is_tokenizer(model):
        return tokenizer_task(model, config)
    return token_task(model, config, workdir, exchange, check_learned)


def rule_of(task: Task, config: TrainConfig) -> UpdateRule:
    """How a task learns: by one optimizer, where it has no rule of its own."""
    return task.rule or one_optimizer(
        task.training_loss,
        make_optimizer(config.optimizer, config.num_steps),
        config.compute.accumulate_steps,
        config.ema_decay,
    )


def tokenizer_task(model: Any, config: TrainConfig) -> Task:
    """Reconstruct images; samples are pairs of rows, originals above reconstructions."""
    family = tokenizer_of(model)
    family.grid_of(image_shape(config.data), "data.image_size")
    check_for_tokenizer(config.compute, family)
    check_clips(config, len(family.axes) > 2)
    check_image_size(config.fid, image_size(config.data))
    training, validation = (open_images(config.data, split) for split in SPLITS)
    for section in ("fid", "evaluation"):
        if (count := getattr(config, section).num_images) > len(validation):
            raise UserError(
                f"{section}.num_images: got {count}, allowed is at most the {len(validation)} "
                "validation images, which a tokenizer is judged by"
            )
    rule, loss_function = tokenizer_updates(family, config)
    shown = np.linspace(0, len(validation) - 1, NUM_SAMPLES).astype(int).tolist()
    originals = np.stack([validation[i]["image"] for i in shown])

    reconstruct = jax.jit(family.reconstruct)

    def draw_samples(params: Any) -> np.ndarray:
        half = NUM_SAMPLES // 2
        rebuilt = fetch(reconstruct(params, originals))
        rows = [originals[:half], rebuilt[:half], originals[half:], rebuilt[half:]]
        return image_grid(stills(np.concatenate(rows)), columns=half)

    def draw_of(num_images: int) -> Draw:
        # As the command takes so many: classes may lie one after the other.
        judged = np.asarray(evenly(len(validation), num_images))

        def draw(params, first, count, sharding):
            rows = judged[(first + np.arange(count)) % len(validation)]
            images_BHWC = np.stack([validation[int(row)]["image"] for row in rows])
            return fetch(reconstruct(params, spread(images_BHWC, sharding)))

        return draw

    return Task(
        model,
        training,
        validation,
        loss_function,
        loss_function,
        draw_samples,
        draw_of(config.fid.num_images),
        draw_of(config.evaluation.num_images),
        rule=rule,
        summarize=summarize_codes,
    )


def token_task(
    model: TransformerConfig,
    config: TrainConfig,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
    check_learned: CheckLearned = any_fit,
) -> Task:
    """Predict tokens; samples are pictures of every class, drawn as the model will draw."""
    tokenizer = load_weights(config.tokenizer, "tokenizer", "tokenizer")
    # What the config asks for in vain is refused before any image is encoded.
    options = loss_options(config.compute, model, config.num_size_lists)
    family = transformer_of(model)
    training_loss = token_loss(family, config, options)
    validation_loss = family.loss(False, **options)
    decoded = tokenizer_of(tokenizer.config).size_of(model.grid_size)
    check_clips(config, len(decoded) > 2)
    check_image_size(config.fid, config.generation.output_size or decoded[-2])
    with in_section("generation", vars(config.generation)):
        draw = make_sampler(model, config, tokenizer)
    generation = family.defaults().updated(vars(config.generation), "generation")
    plan = plan_for(model, tokenizer.config, generation, config.evaluation)
    judged = None if plan is None else planned_draw(plan, tokenizer)

    def draw_samples(params: Any) -> np.ndarray:
        images = stills(draw(params, 0, NUM_SAMPLES, None))
        return image_grid(images, columns=NUM_SAMPLES // 2)

    digest = weights_digest(tokenizer.params, tokenizer.config)
    training, validation = open_tokens(model, config, tokenizer, workdir, exchange, check_learned)
    losses = training_loss, validation_loss
    size = None if plan is None else plan.size
    return Task(model, training, validation, *losses, draw_samples, draw, judged, size, digest)


def stills(images: np.ndarray) -> np.ndarray:
    """Pictures as they are; of clips `[B, T, H, W, 3]` the frame in the middle."""
    return images if images.ndim == 4 else images[:, images.shape[1] // 2]


def token_loss(family: Family, config: TrainConfig, options: dict[str, Any]) -> LossFunction:
    """The training loss; with `locality_share`, the bank of orders is bound to it.

    Raises:
        UserError: a share that is none, or for a family that has its own order.
    """
    if not config.locality_share:
        return family.loss(True, **options)
    if not family.draws_sizes:
        raise UserError(
            f"locality_share: got {config.locality_share}, allowed for {family.title} is 0: it "
            "learns its own order"
        )
    mix = locality_mix(config.locality_share, family.config.grid_size)

    def loss_function(mix: OrderMix, params: Any, batch: Any, key: jax.Array):
        return family.loss(True, order_mix=mix, **options)(params, batch, key)

    return jax.tree_util.Partial(loss_function, mix)


def make_sampler(model: TransformerConfig, config: TrainConfig, tokenizer: Weights) -> Draw:
    """Draws classes in turn, each image in an order and with random numbers of its own."""
    family = transformer_of(model)
    generation = family.defaults().updated(vars(config.generation), "generation")
    schedule = family.schedule(generation.num_steps, generation.group_sizes)
    make_orders = functools.partial(
        family.orders,
        generation.order,
        schedule,
        proximity_threshold=generation.proximity_threshold,
        repulsion_threshold=generation.repulsion_threshold,
    )
    make_orders(1)  # refuses now what it would refuse then

    def draw(params, first, count, sharding):
        labels_B = (first + np.arange(count, dtype=np.int32)) % model.num_classes
        keys_B = jax.random.key_data(image_keys(config.seed, first, count))
        inputs = [labels_B, make_orders(count, config.seed, first_index=first), np.asarray(keys_B)]
        labels_B, order_BN, keys_B = (spread(x, sharding) for x in inputs)
        images_BHWC, _ = generate_images(
            model,
            params,
            *tokenizer,
            labels_B,
            order_BN,
            wrap_random_keys(keys_B),
            schedule=schedule,
            sampling=generation.sampling,
            guidance=generation.guidance,
            output_size=generation.output_size,
            dtype=jnp.dtype(generation.computed_in),
        )
        return fetch(images_BHWC)

    return draw


def open_tokens(
    model: TransformerConfig,
    config: TrainConfig,
    tokenizer: Weights,
    workdir: pathlib.Path,
    exchange: Exchange | None = None,
    check_learned: CheckLearned = any_fit,
) -> list[TokenSource]:
    """Both splits as tokens: from the cache that the config names, or from images, encoded now.

    What is encoded goes to `workdir/tokens/<split>`; a run that is resumed finds it there.

    Raises:
        UserError: tokens that are not of this tokenizer, or not what the model is to learn.
    """
    data, digest = config.data, weights_digest(tokenizer.params, tokenizer.config)
    if data.dataset == "tokens":
        names = (data.train_split or "train", data.validation_split or "validation")
        root = located("data.path", data.path)
        caches = [open_token_cache(root / name) for name in names]
        check_views(caches[0].settings, data.random_views)
        check_splits(*(cache.settings for cache in caches))
        for cache in caches:
            check_cache(cache.settings, model, digest)
        check_learned(digest, caches[0].class_names)
        return caches
    views = {"train": "mirror" if data.random_views else "one", "validation": "one"}
    jobs = {split: plan_cache(tokenizer, data, split, views[split]) for split in SPLITS}
    for job in jobs.values():
        check_cache(job.settings, model, digest)
    check_learned(digest, jobs["train"].settings.class_names)
    folders = [workdir / TOKENS_FOLDER / split for split in SPLITS]
    for folder, job in zip(folders, jobs.values(), strict=True):
        options: dict[str, Any] = {"num_threads": data.num_threads, "exchange": exchange}
        write_token_cache(folder, job, field="workdir", **options)
    return [open_token_cache(folder) for folder in folders]
