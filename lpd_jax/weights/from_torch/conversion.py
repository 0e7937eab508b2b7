"""Official PyTorch weights to our parameters and back, checked name by name and shape by shape."""

import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lpd_jax.bundled.imagenet import NUM_CLASSES, imagenet_class_names
from lpd_jax.decoding.grid import MOST_TOKENS
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.models.settings import Generation
from lpd_jax.models.size_limits import MOST_WIDTH
from lpd_jax.runtime.arguments import as_array, as_list, check_whole
from lpd_jax.runtime.errors import UserError, shown, shown_name, shown_path
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.from_torch.checkpoint_entries import clean_names
from lpd_jax.weights.from_torch.official import (
    leaf_shapes,
    official_of,
    official_weights,
    recognise,
    recognised,
)
from lpd_jax.weights.from_torch.sharded_files import hint_of
from lpd_jax.weights.from_torch.state_dict_shapes import Tell, Weight
from lpd_jax.weights.from_torch.torch_files import read_state_dict
from lpd_jax.weights.parameters import check_same_shapes


def from_torch(
    state_dict: Mapping[str, np.ndarray],
    num_heads: int | None = None,
    grid_size: int | tuple[int, ...] | None = None,
    tell: Tell = lambda line: None,
) -> tuple[Any, dict[str, Any]]:
    """Converts an official state dict of a family known here, recognised by its names.

    LPD, PAR, LlamaGen, RandAR, ARPG, VQ or the video tokenizer.

    Args:
        state_dict: official name -> array; prefixes such as "module." are removed.
        num_heads: attention heads of a transformer; None for those of the published model of its
            width.
        grid_size: tokens per side, or (height, width), of a transformer, (frames, height, width)
            of a PAR that draws clips; None for an LPD's square, or the grid of the published models
            of the others.
        tell: called with a line about each of the two that neither the weights nor you say.

    Returns:
        The config, with every other size read off the shapes, and nested float32 parameters.

    Raises:
        UserError: weights of no known model; missing, unexpected or misshapen weights, each
            named; heads or a grid that the weights do not tell or do not allow.
    """
    arrays = as_arrays(state_dict)
    if num_heads is not None:
        num_heads = check_whole("num_heads", num_heads, 1, MOST_WIDTH)
    grid = None if grid_size is None else checked_grid(grid_size)
    shapes = {name: value.shape for name, value in arrays.items()}
    official = recognised(shapes)
    draft = official.draft(shapes)
    weights = official_weights(draft)
    check_weights(arrays, weights, official.beside)
    config = official.complete(draft, shapes, num_heads, grid, tell)
    flat = {path: np.empty(shape, np.float32) for path, shape in leaf_shapes(draft).items()}
    for weight in weights:
        source, target = arrays[weight.name], _place(flat, weight)
        if weight.path.endswith("kernel"):
            source = np.moveaxis(source, (0, 1), (-1, -2))
        target[...] = source.reshape(target.shape)
    return config, unflatten_dict(flat, sep="/")


def checked_grid(grid_size: int | tuple[int, ...]) -> Any:
    """The sides of a grid, one for each axis; of one number a square's. UserError for others."""
    sides = grid_size if np.iterable(grid_size) else (grid_size, grid_size)
    allowed = "is a number, or (height, width) or (frames, height, width), of tokens"
    items = as_list("grid_size", sides, allowed)
    return tuple(check_whole("grid_size", side, 0, MOST_TOKENS) for side in items)


def as_arrays(state_dict: Any) -> dict[str, np.ndarray]:
    """The arrays of a state dict by their clean names; UserError for what is none."""
    if not isinstance(state_dict, Mapping) or not all(isinstance(x, str) for x in state_dict):
        raise UserError(
            f"state_dict: got {shown(state_dict)}, allowed is a mapping of names to arrays"
        )
    return {
        name: as_array(f"state_dict: {shown_name(name)}", value, "are arrays of numbers")
        for name, value in clean_names(state_dict).items()
    }


def convert_file(
    path: str | PathLike,
    num_heads: int | None = None,
    grid_size: int | tuple[int, ...] | None = None,
    key: str | None = None,
    tell: Tell = lambda line: None,
) -> tuple[Any, dict[str, Any]]:
    """`from_torch` of the first model known here in a .pth, .pt or .safetensors file.

    Args:
        key: the entry of the checkpoint that holds the weights; None: `read_state_dict` finds it.
        tell: called with a line about each thing that is decided here; see both.

    Raises:
        FileNotFoundError, UserError: as those two raise them, naming the file.
    """

    def is_model(names: Iterable[str]) -> bool:
        return recognise(names) is not None

    which: list[str] = []
    state_dict = read_state_dict(path, is_model, key, which.append)
    for line in which:
        tell(line)
    try:
        return from_torch(state_dict, num_heads, grid_size, tell)
    except UserError as error:
        taken = "".join(f" ({line})" for line in which)
        hint = hint_of(Path(path))
        raise UserError(f"checkpoint: got {shown_path(path)}: {error}{taken}{hint}") from None


def directory_config(
    transformer: Any, tokenizer: Any, class_names: Sequence[str] | None = None
) -> DirectoryConfig:
    """The config of a model directory of converted weights, with the published settings.

    Either model may be None. Class names of None are ImageNet's for a transformer of 1,000 classes,
    as all released ones are, and none for others. Raises UserError when the two models do not
    speak of the same tokens.
    """
    if transformer is not None:
        transformer_of(transformer)
    if class_names is None:
        of_imagenet = transformer is not None and transformer.num_classes == NUM_CLASSES
        class_names = imagenet_class_names() if of_imagenet else ()
    size = None
    if tokenizer is not None:
        family = tokenizer_of(tokenizer)
        grid = family.published_grid if transformer is None else transformer.grid_size
        size = family.size_of(grid)
    generation = Generation() if transformer is None else Generation.published(transformer)
    return DirectoryConfig(
        transformer,
        tokenizer,
        size,
        tuple(as_list("class_names", class_names, "are texts, one a class")),
        generation,
    )


def to_torch_names(config: Any, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our parameters under official names, in torch's layout; float32, NumPy, no torch.

    Raises UserError naming leaves that are missing, unexpected or misshapen.
    """
    official_of(config)  # a config, of a family that has official weights
    if not isinstance(params, Mapping):
        raise UserError(f"params: got {shown(params)}, allowed are nested dictionaries of arrays")
    leaves = flatten_dict(dict(params), sep="/")
    flat = {path: np.asarray(leaf, np.float32) for path, leaf in leaves.items()}
    shapes = {path: leaf.shape for path, leaf in flat.items()}
    check_same_shapes(shapes, leaf_shapes(config), "the parameter tree")
    state_dict = {}
    for weight in official_weights(config):
        source = _place(flat, weight)
        if weight.path.endswith("kernel"):
            source = np.moveaxis(source, (-1, -2), (0, 1))
        state_dict[weight.name] = np.ascontiguousarray(source.reshape(weight.shape))
    return state_dict | dict(official_of(config).written_beside())


def check_weights(
    arrays: Mapping[str, np.ndarray], weights: list[Weight], beside: Iterable[str] = ()
) -> None:
    """Raises one UserError naming every missing, unexpected, misshapen or non-float weight.

    Args:
        beside: patterns of names of what is no weight and may be there.
    """
    left_out = re.compile("|".join(beside) or "(?!)")
    got = {name: value for name, value in arrays.items() if not left_out.fullmatch(name)}
    want = {weight.name: weight.shape for weight in weights}
    wrong_kind = [
        f"{name}: got {value.dtype} values, allowed are floats"
        for name, value in got.items()
        if name in want and not jnp.issubdtype(value.dtype, jnp.floating)
    ]
    shapes = {name: value.shape for name, value in got.items()}
    check_same_shapes(shapes, want, "the checkpoint", wrong_kind)


def _place(flat: Mapping[str, np.ndarray], weight: Weight) -> np.ndarray:
    leaf = flat[weight.path]
    return leaf if weight.layer is None else leaf[weight.layer]
