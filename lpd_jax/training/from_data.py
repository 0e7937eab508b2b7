"""What a config leaves to the data: classes, codebook, grid, steps of so many epochs."""

from collections.abc import Mapping
from typing import Any

import jax

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import image_shape, open_images
from lpd_jax.data.token_cache import open_token_cache
from lpd_jax.models.family import tokenizer_of
from lpd_jax.runtime.arguments import as_number, is_finite
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.config_fields import from_mapping, listed_items
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.optimizer import REST
from lpd_jax.weights.loading import load_weights

WARMUP_SHARE = 0.1  # of a run whose cosine is the rest, at most


def fill_in(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what it leaves open read off its data and its tokenizer.

    Open are `model.num_classes`, `model.codebook_size` and each side of `model.grid_size` where
    they are 0, `num_steps` where there is `num_epochs`, and `optimizer.cosine_steps` where it is
    -1: all steps after the warm-up. With `num_epochs` a batch is no larger than the training set.
    A config that leaves nothing open comes back as it is, and no data are looked at.

    Raises:
        UserError: data or a tokenizer that cannot be opened; both steps and epochs.
    """
    filled = {key: dict(x) if isinstance(x, Mapping) else x for key, x in mapping.items()}
    model, epochs = filled.get("model"), filled.pop("num_epochs", None)
    if not isinstance(model, dict):
        return filled  # `read_config` says what is wrong
    missing = [name for name in ("num_classes", "codebook_size") if whole(model.get(name)) == 0]
    open_grid = "grid_size" in model and not any(sides(model["grid_size"]))
    if epochs is not None or missing or open_grid:
        facts = read_facts(filled, wants_tokens=open_grid or "codebook_size" in missing)
        model.update({name: facts[name] for name in missing})
        if open_grid:
            model["grid_size"] = facts["grid_size"]
        if epochs is not None:
            fill_in_steps(filled, epochs, facts["num_images"])
    fill_in_cosine(filled)
    return filled


def sides(grid_size: Any) -> tuple[Any, ...]:
    items = listed_items(grid_size)
    return tuple(items) if isinstance(items, tuple | list) else (items,)


def whole(value: Any) -> int | None:
    """A whole number of whatever type configs may have them in; None for anything else."""
    number = as_number(value)
    return number if isinstance(number, int) else None


def read_facts(config: Mapping[str, Any], wants_tokens: bool) -> dict[str, Any]:
    """Of the training set: num_images and num_classes; of its tokens: grid_size, codebook_size."""
    data = from_mapping(DataConfig, config.get("data", {}), "data")
    if data.dataset == "tokens":
        root = located("data.path", data.path)
        cache = open_token_cache(root / (data.train_split or "train"))
        facts = {"num_images": len(cache), "num_classes": cache.num_classes}
        made = cache.settings
        return facts | {"grid_size": made.grid_size, "codebook_size": made.codebook_size}
    pictures = open_images(data, "train")
    facts = {"num_images": len(pictures), "num_classes": pictures.num_classes}
    if not wants_tokens:
        return facts
    tokenizer = load_weights(str(config.get("tokenizer", "")), "tokenizer", "tokenizer").config
    grid = tokenizer_of(tokenizer).grid_of(image_shape(data), "data.image_size")
    return facts | {"grid_size": grid, "codebook_size": tokenizer.codebook_size}


def fill_in_steps(config: dict[str, Any], epochs: Any, num_images: int) -> None:
    """`num_steps` of so many passes over the training set, in batches that it can fill."""
    if config.get("num_steps"):
        raise UserError(
            f"num_epochs: got {shown(epochs)} beside num_steps {shown(config['num_steps'])}, "
            "allowed is one of the two"
        )
    passes = as_number(epochs) if is_finite(epochs) else None
    if passes is None or not 0 < passes < 1e9:
        raise UserError(f"num_epochs: got {shown(epochs)}, allowed are numbers above 0")
    batch_size = whole(config.get("batch_size"))
    if batch_size is None or batch_size < 1:
        config["num_steps"] = 1  # `read_config` says what is wrong, and not that this is missing
        return
    config["batch_size"] = min(batch_size, largest_batch(config, num_images))
    config["num_steps"] = max(1, round(passes * num_images / config["batch_size"]))


def largest_batch(config: Mapping[str, Any], num_images: int) -> int:
    """How many images of a small set all devices, and the parts of a step, take in equal shares."""
    sections = {name: config.get(name) for name in ("mesh", "compute")}
    given = {name: x if isinstance(x, Mapping) else {} for name, x in sections.items()}
    tensor = whole(given["mesh"].get("tensor", 1))
    parts = whole(given["compute"].get("accumulate_steps", 1))
    if tensor is None or parts is None or min(tensor, parts) < 1:
        return num_images  # `read_config` says so
    shares = max(1, jax.device_count() // tensor) * parts
    return num_images // shares * shares or num_images


def fill_in_cosine(config: dict[str, Any]) -> None:
    """`optimizer.cosine_steps` of REST as a number: all after a warm-up of a tenth at most."""
    optimizer, num_steps = config.get("optimizer"), whole(config.get("num_steps"))
    if not isinstance(optimizer, dict) or whole(optimizer.get("cosine_steps")) != REST:
        return
    warmup = whole(optimizer.get("warmup_steps", 0))
    if num_steps is not None and warmup is not None:
        optimizer["warmup_steps"] = warmup = min(warmup, int(WARMUP_SHARE * num_steps))
        optimizer["cosine_steps"] = max(0, num_steps - warmup)
