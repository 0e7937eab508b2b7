"""Official PyTorch weights to our parameters and back, checked name by name and shape by shape."""

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np

from lpd_jax.images import resize_bicubic
from lpd_jax.models.family import ModelConfig, TransformerConfig, config_to_dict
from lpd_jax.models.published import published_generation
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.weights.from_torch.official import (
    complete_config,
    config_from_shapes,
    find_family,
    leaf_shapes,
    official_weights,
)
from lpd_jax.weights.from_torch.par import ANGLES
from lpd_jax.weights.from_torch.state_dict_shapes import Tell, Weight
from lpd_jax.weights.from_torch.torch_files import clean_names, read_state_dict
from lpd_jax.weights.from_torch.vq import CODEBOOK_USED, CODEBOOK_USED_LENGTH
from lpd_jax.weights.model_directory import flatten_params, unflatten_params

NO_WEIGHTS = (CODEBOOK_USED, ANGLES)  # what checkpoints carry along, and no parameter is
ALONE_GRID = (16, 16)  # in tokens: what a tokenizer without a transformer takes pictures for


def from_torch(
    state_dict: Mapping[str, np.ndarray],
    num_heads: int | None = None,
    grid_size: int | tuple[int, int] | None = None,
    tell: Tell = lambda line: None,
) -> tuple[ModelConfig, dict[str, Any]]:
    """Converts an official LPD, PAR, LlamaGen or VQ state dict, recognised by its names.

    Args:
        state_dict: official name -> array; prefixes such as "module." are removed.
        num_heads: attention heads of a transformer; None for those of the published model of its
            width.
        grid_size: tokens per side, or (height, width), of a transformer; None for an LPD's square,
            or the grid of the published PAR and LlamaGen models.
        tell: called with a line about each of the two that neither the weights nor you say.

    Returns:
        The config, with every other size read off the shapes, and nested float32 parameters.

    Raises:
        ValueError: weights of no known model; missing, unexpected or misshapen weights, each
            named; heads or a grid that the weights do not tell or do not allow.
    """
    arrays = {name: np.asarray(value) for name, value in clean_names(state_dict).items()}
    shapes = {name: value.shape for name, value in arrays.items()}
    draft = config_from_shapes(shapes)
    weights = official_weights(draft)
    check_weights(arrays, weights)
    config = complete_config(draft, shapes, num_heads, grid_size, tell)
    flat = {path: np.empty(shape, np.float32) for path, shape in leaf_shapes(draft).items()}
    for weight in weights:
        source, target = arrays[weight.name], _place(flat, weight)
        if weight.path.endswith("kernel"):
            source = np.moveaxis(source, (0, 1), (-1, -2))
        target[...] = source.reshape(target.shape)
    return config, unflatten_params(flat)


def convert_file(
    path: str | PathLike,
    num_heads: int | None = None,
    grid_size: int | tuple[int, int] | None = None,
    key: str | None = None,
    tell: Tell = lambda line: None,
) -> tuple[ModelConfig, dict[str, Any]]:
    """`from_torch` of the first model known here in a .pth, .pt or .safetensors file.

    Args:
        key: the entry of the checkpoint that holds the weights; None: `read_state_dict` finds it.

    Raises:
        FileNotFoundError, ValueError: as those two raise them, naming the file.
    """
    state_dict = read_state_dict(path, lambda names: find_family(names) is not None, key)
    try:
        return from_torch(state_dict, num_heads, grid_size, tell)
    except ValueError as error:
        raise ValueError(f"checkpoint {path}: {error}") from None


def directory_config(
    transformer: TransformerConfig | None,
    tokenizer: VQConfig | None,
    class_names: Sequence[str] = (),
) -> dict[str, Any]:
    """The config.json of a model directory of converted weights, with the published settings.

    Either model may be None. Raises ValueError when the two do not speak of the same tokens.
    """
    config: dict[str, Any] = {
        "class_names": list(class_names),
        "transformer": transformer and config_to_dict(transformer),
        "tokenizer": tokenizer and config_to_dict(tokenizer),
    }
    if transformer is not None:
        config["generation"] = published_generation(transformer)
    if tokenizer is not None:
        grid = ALONE_GRID if transformer is None else transformer.grid_size
        config["image_size"] = [side * tokenizer.downsample_factor for side in grid]
    if transformer and tokenizer and transformer.codebook_size != tokenizer.codebook_size:
        raise ValueError(
            f"codebook_size: got {transformer.codebook_size} in the transformer, allowed is the "
            f"tokenizer's {tokenizer.codebook_size}"
        )
    return config


def to_torch_names(config: ModelConfig, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our parameters under official names, in torch's layout; float32, NumPy, no torch.

    Raises ValueError naming each leaf that is missing, unexpected or misshapen.
    """
    flat = {path: np.asarray(leaf, np.float32) for path, leaf in flatten_params(params).items()}
    _check_shapes({p: x.shape for p, x in flat.items()}, leaf_shapes(config), "the parameter tree")
    state_dict = {}
    for weight in official_weights(config):
        source = _place(flat, weight)
        if weight.path.endswith("kernel"):
            source = np.moveaxis(source, (-1, -2), (0, 1))
        state_dict[weight.name] = np.ascontiguousarray(source.reshape(weight.shape))
    if isinstance(config, VQConfig):
        state_dict[CODEBOOK_USED] = np.zeros(CODEBOOK_USED_LENGTH, np.float32)
    return state_dict


def resize_position_embedding(
    params_or_table: Any, from_grid: tuple[int, int], to_grid: tuple[int, int]
) -> Any:
    """Bicubic resize of an LPD's position table: 512-pixel training starts from 256 weights.

    The row of the class slot stays as it is. The others, in raster order, are resized as an image
    of D channels, as torch's `interpolate(mode="bicubic")` resizes.

    Args:
        params_or_table: the table `[N + 1, D]`, or nested parameters, of which a copy with the new
            table is returned that shares the other leaves.
        from_grid: (height, width) of the table.
        to_grid: (height, width) wanted.

    Raises:
        ValueError: the table has not the rows of `from_grid`, or `to_grid` is empty.
    """
    if isinstance(params_or_table, Mapping):
        table = resize_position_embedding(params_or_table["position_embed"], from_grid, to_grid)
        return {**params_or_table, "position_embed": table}
    table = jnp.asarray(params_or_table)
    if table.ndim != 2 or table.shape[0] != math.prod(from_grid) + 1:
        raise ValueError(
            f"position_embed: got shape {table.shape}, allowed for grid {from_grid} is "
            f"[{math.prod(from_grid) + 1}, D]"
        )
    if len(to_grid) != 2 or min(to_grid) < 1:
        raise ValueError(f"to_grid: got {to_grid}, allowed is (height, width), each from 1")
    if tuple(from_grid) == tuple(to_grid):
        return table
    image_BHWD = table[1:].astype(jnp.float32).reshape(1, *from_grid, -1)
    rows_ND = resize_bicubic(image_BHWD, to_grid).reshape(math.prod(to_grid), -1)
    return jnp.concatenate([table[:1], rows_ND.astype(table.dtype)])


def check_weights(arrays: Mapping[str, np.ndarray], weights: list[Weight]) -> None:
    """Raises one ValueError naming every missing, unexpected, misshapen or non-float weight."""
    got = {name: value for name, value in arrays.items() if name not in NO_WEIGHTS}
    want = {weight.name: weight.shape for weight in weights}
    wrong_kind = [
        f"{name}: got {value.dtype} values, allowed are floats"
        for name, value in got.items()
        if name in want and not jnp.issubdtype(value.dtype, jnp.floating)
    ]
    shapes = {name: value.shape for name, value in got.items()}
    _check_shapes(shapes, want, "the checkpoint", wrong_kind)


def _check_shapes(
    got: Mapping[str, tuple[int, ...]],
    want: Mapping[str, tuple[int, ...]],
    what: str,
    problems: list[str] | None = None,
) -> None:
    problems = list(problems or ())
    problems += [f"missing {name}" for name in want.keys() - got.keys()]
    problems += [f"unexpected {name}" for name in got.keys() - want.keys()]
    problems += [
        f"{name}: got shape {got[name]}, want {want[name]}"
        for name in got.keys() & want.keys()
        if got[name] != want[name]
    ]
    if problems:
        raise ValueError(f"{what} does not fit the model:\n  " + "\n  ".join(sorted(problems)))


def _place(flat: Mapping[str, np.ndarray], weight: Weight) -> np.ndarray:
    leaf = flat[weight.path]
    return leaf if weight.layer is None else leaf[weight.layer]
