"""The model under test: a published name with random weights, or a model directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lpd_jax.models.family import MODELS, TransformerConfig, find_model, init_params
from lpd_jax.models.transformer import cast_matrices, unstack_blocks
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.model_directory import load_config, load_model_directory
from lpd_jax.weights.pretrained import (
    NAMED_MODELS,
    check_sizes,
    find_model_directory,
    model_config,
    put_on_device,
)


class Subject(NamedTuple):
    """Configs, and where weights are; without a directory they are random."""

    name: str
    transformer: TransformerConfig
    tokenizer: VQConfig | None
    directory: Path | None = None


def find_subject(name: str, tokenizer: str) -> Subject:
    """By a published name or a model directory.

    Args:
        name: of a transformer in the registry, or a directory or bundled model.
        tokenizer: name of one in the registry, for a transformer by name; "" is none.

    Raises:
        ValueError, FileNotFoundError: names what is unknown or does not fit.
    """
    if name in NAMED_MODELS or Path(name).expanduser().is_dir():
        directory = find_model_directory(name)
        config = load_config(directory)
        transformer = model_config(config, "transformer", name)
        parts = transformer, None
        if config.get("tokenizer") is not None:
            parts = transformer, model_config(config, "tokenizer", name)
        check_sizes(config, *parts, name)
        return Subject(name, *parts, directory)
    transformer = find_model(name)
    if isinstance(transformer, VQConfig):
        raise UserError(f"model: got {name!r}, a tokenizer; allowed are transformers")
    return Subject(name, transformer, find_tokenizer(tokenizer) if tokenizer else None)


def find_tokenizer(name: str) -> VQConfig:
    config = MODELS.get(name)
    if not isinstance(config, VQConfig):
        known = [other for other, config in MODELS.items() if isinstance(config, VQConfig)]
        raise UserError(f"tokenizer: got {name!r}, allowed are {', '.join(known)}")
    return config


class LatestOnly:
    """Decorator: keeps what was made last, and lets go of it before it makes another.

    Of the largest models two do not fit into memory.
    """

    def __init__(self, make: Callable[..., Any]):
        self._make = make
        self._key: tuple[Any, ...] | None = None
        self._value: Any = None

    def __call__(self, *key: Any) -> Any:
        if key != self._key:
            self.forget()
            self._value = self._make(*key)
            self._key = key
        return self._value

    def forget(self) -> None:
        """For a program that takes the memory for its own."""
        self._key = self._value = None


@LatestOnly
def transformer_params(subject: Subject, dtype: str) -> Any:
    """Parameters on the device, their matrices in `dtype`."""
    params = load_params(subject, "transformer", subject.transformer)
    return params if dtype == "float32" else cast_matrices(params, jnp.dtype(dtype))


@LatestOnly
def drawing_params(subject: Subject, dtype: str) -> Any:
    """The same, layer by layer, as a pipeline holds them."""
    return unstack_blocks(transformer_params(subject, dtype), subject.transformer.num_layers)


@LatestOnly
def tokenizer_params(subject: Subject) -> Any:
    """Parameters of the tokenizer on the device, in float32."""
    return load_params(subject, "tokenizer", subject.tokenizer)


def load_params(subject: Subject, part: str, config: Any) -> Any:
    """Those of the directory, or random ones."""
    if subject.directory is None:
        return init_params(config, jax.random.key(0))
    return put_on_device(
        getattr(load_model_directory(subject.directory), part), config, subject.name
    )
