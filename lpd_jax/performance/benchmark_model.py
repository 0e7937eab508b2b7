"""The model under test: a published name with random weights, or a model directory."""

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.models.family import is_tokenizer, published_models, tokenizer_of, transformer_of
from lpd_jax.models.parameters import abstract_params, count_params, init_params
from lpd_jax.models.transformer import cast_matrices
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.performance.allocator import give_back_freed_memory
from lpd_jax.runtime.arguments import nearest
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.weights.hub import BUNDLED_MODELS, find_model_directory, holds_a_model
from lpd_jax.weights.model_directory import load_model_directory, read_directory_config
from lpd_jax.weights.parameters import put_on_device

SMALL_SHARE = 0.25  # of the memory: float32 weights up to it are made in one program


class BenchmarkModel(NamedTuple):
    """Configs, and where weights are; without a directory they are random."""

    name: str
    transformer: TransformerConfig
    tokenizer: Any | None
    directory: Path | None = None


def find_benchmark_model(name: str, tokenizer: str) -> BenchmarkModel:
    """By a published name or a model directory.

    Args:
        name: of a published transformer, or what `find_model_directory` takes.
        tokenizer: published name of the one beside a published transformer; "" is none.

    Raises:
        UserError, FileNotFoundError: names what is unknown or does not fit.
    """
    is_directory = name in BUNDLED_MODELS or "/" in name or holds_a_model(Path(name).expanduser())
    if is_directory:
        directory = find_model_directory(name)
        config = read_directory_config(directory)
        return BenchmarkModel(name, config.need("transformer"), config.tokenizer, directory)
    transformers = published(tokenizers=False)
    if name not in transformers:
        known = [*transformers, *BUNDLED_MODELS]
        raise UserError(
            f"model: got {shown_path(name)}, allowed are {', '.join(known)} and model directories"
            f"{nearest(name, known)}"
        )
    return BenchmarkModel(
        name, transformers[name], find_tokenizer(tokenizer) if tokenizer else None
    )


def tokenizer_beside(model: TransformerConfig, name: str | None) -> str:
    """The name; where there is none, that of the published tokenizer of such grids."""
    if name is not None:
        return name
    return "vq16" if len(model.grid_size) == 2 else "nbp_video"


def find_tokenizer(name: str) -> Any:
    """The config of a published tokenizer; UserError names them all."""
    known = published(tokenizers=True)
    if name not in known:
        raise UserError(
            f"tokenizer: got {shown_path(name)}, allowed are "
            f"{', '.join(known)}{nearest(name, known)}"
        )
    return known[name]


def published(tokenizers: bool) -> dict[str, Any]:
    """Configs of the published tokenizers, or of the published transformers, by name."""
    models = published_models().items()
    return {name: config for name, config in models if is_tokenizer(config) == tokenizers}


def weights_of_drawing(model: BenchmarkModel, dtype: str) -> int:
    """Bytes that its weights take in `dtype` while they are made: stacked, and as drawn with."""
    return 2 * jnp.dtype(dtype).itemsize * count_params(model.transformer)


def device_memory() -> int:
    """Bytes of the first device, or of the machine where the device tells none."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
            give_back_freed_memory()
            self._value = jax.block_until_ready(self._make(*key))
            self._key = key
            give_back_freed_memory()  # what making took besides
        return self._value

    def forget(self) -> None:
        """For a program that takes the memory for its own."""
        self._key = self._value = None


@LatestOnly
def transformer_params(model: BenchmarkModel, dtype: str) -> Any:
    """Parameters on the device, their matrices in `dtype`."""
    if dtype == "float32":
        return load_or_init(model, "transformer", model.transformer)
    cast = functools.partial(cast_matrices, dtype=jnp.dtype(dtype))
    if model.directory is None:
        return random_params(model.transformer, cast)
    return cast(load_or_init(model, "transformer", model.transformer))


def random_params(config: Any, cast: Callable[[Any], Any]) -> Any:
    """What `cast` makes of random parameters, whose float32 numbers need not all fit at once."""

    def leaves(key: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(cast(init_params(config, key)))

    key = jax.random.key(0)
    shapes, structure = jax.tree.flatten(abstract_params(config))
    if 4 * sum(shape.size for shape in shapes) < SMALL_SHARE * device_memory():
        made = jax.jit(leaves)(key)
    else:  # a program for each takes longer to compile, and leaves out what the others need
        one = jax.jit(lambda key, index: leaves(key)[index], static_argnums=1)
        made = [jax.block_until_ready(one(key, index)) for index in range(len(shapes))]
    return jax.tree.unflatten(structure, made)


@LatestOnly
def drawing_params(model: BenchmarkModel, dtype: str) -> Any:
    """The same, as a pipeline holds them; on the host in between, where to cut and turn is free."""
    stacked = jax.device_get(transformer_params(model, dtype))
    transformer_params.forget()
    return jax.device_put(transformer_of(model.transformer).for_drawing(stacked))


@LatestOnly
def tokenizer_params(model: BenchmarkModel) -> Any:
    """Parameters of the tokenizer on the device, in float32, as a pipeline holds them."""
    params = load_or_init(model, "tokenizer", model.tokenizer)
    return tokenizer_of(model.tokenizer).for_drawing(params)


def random_numbers(config: Any) -> Any:
    """Parameters from NumPy, matrices of their usual size.

    To compile the initialiser of a tokenizer, which has a hundred layers to draw, takes 10 seconds
    on a CPU, and took a minute on an H100 that compiled other programs, too.
    """
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if name in ("scale", "bias"):
            return np.full(leaf.shape, name == "scale", np.float32)
        numbers = rng.standard_normal(leaf.shape, np.float32)
        return numbers / np.float32(math.sqrt(math.prod(leaf.shape[:-1])))

    return jax.tree_util.tree_map_with_path(draw, abstract_params(config))


def load_or_init(model: BenchmarkModel, part: str, config: Any) -> Any:
    """Parameters of "transformer" or "tokenizer": those of the directory, or random ones."""
    if model.directory is None and part == "tokenizer":
        return jax.device_put(random_numbers(config))
    if model.directory is None:
        return init_params(config, jax.random.key(0))
    params = getattr(load_model_directory(model.directory), part)
    return put_on_device(params, config, model.name)
