"""From the name of a model to weights that fit its config."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax

from lpd_jax import bundled
from lpd_jax.models import family
from lpd_jax.models.transformer import unstack_blocks
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.command_line import one_line
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.model_directory import CONFIG_FILE, flatten_params

NAMED_MODELS = {"avatars12": bundled.MODEL_FOLDER}
DEFAULT_MODEL = "avatars12"


def find_model_directory(name_or_dir: str | PathLike) -> Path:
    """The path of a bundled model's name or of a directory; FileNotFoundError names the models."""
    if str(name_or_dir) in NAMED_MODELS:
        return NAMED_MODELS[str(name_or_dir)]
    path = Path(name_or_dir).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(
            f"model {str(name_or_dir)!r} is no directory; allowed are model directories and "
            f"{', '.join(NAMED_MODELS)}"
        )
    return path


def model_config(config: Mapping[str, Any], part: str, where: str) -> Any:
    """The typed config of "transformer" or "tokenizer" in the config of a model directory.

    Raises:
        ValueError: the directory holds only the other, or a field is unknown or ill-typed.
    """
    if config.get(part) is None:
        other = {"transformer": "tokenizer", "tokenizer": "transformer"}[part]
        raise UserError(f"this model directory holds only a {other}: {where}")
    try:
        typed = family.config_from_dict(config[part])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: {CONFIG_FILE}: {part}: {one_line(error)}") from None
    if isinstance(typed, VQConfig) != (part == "tokenizer"):
        name = config[part].get("family")
        raise UserError(f"{where}: {CONFIG_FILE}: {part}: family {name!r} is no {part}")
    return typed


def check_sizes(config: Mapping[str, Any], transformer, tokenizer, where: str) -> tuple[int, int]:
    """The grid (height, width) in tokens, once the models, the classes and the image size agree.

    Args:
        config: of the model directory.
        transformer, tokenizer: their configs, None for one that is not there.

    Raises:
        ValueError: names the field that does not fit the others.
    """
    size, names = config.get("image_size"), config.get("class_names")
    if transformer is not None and names and len(names) != transformer.num_classes:
        raise UserError(
            f"{where}: class_names: got {len(names)}, allowed are none and one for each of "
            f"{transformer.num_classes} classes"
        )
    if tokenizer is None:
        return tuple(transformer.grid_size)
    factor = tokenizer.downsample_factor
    if transformer is None:
        if size is None or size[0] % factor or size[1] % factor:
            raise UserError(
                f"{where}: image_size: got {size}, allowed are [height, width] that are multiples "
                f"of {factor}"
            )
        return size[0] // factor, size[1] // factor
    height, width = transformer.grid_size
    if size is not None and size != [height * factor, width * factor]:
        raise UserError(
            f"{where}: image_size: got {size}, allowed is {[height * factor, width * factor]}: a "
            f"grid of {height}x{width} tokens of {factor} pixels"
        )
    if transformer.codebook_size != tokenizer.codebook_size:
        raise UserError(
            f"{where}: codebook_size: got {transformer.codebook_size} in transformer, allowed is "
            f"the tokenizer's {tokenizer.codebook_size}"
        )
    return height, width


def put_on_device(
    params: Mapping[str, Any], config: Any, where: str, by_layer: bool = False
) -> Any:
    """Puts weights on the device; one ValueError names all that do not fit the config.

    Args:
        where: what the error calls them.
        by_layer: those of a transformer as drawing takes them, see `unstack_blocks`.
    """
    got = {name: x.shape for name, x in flatten_params(params).items()}
    want = {name: x.shape for name, x in flatten_params(family.abstract_params(config)).items()}
    problems = [f"missing {name}" for name in sorted(want.keys() - got.keys())]
    problems += [f"unexpected {name}" for name in sorted(got.keys() - want.keys())]
    problems += [
        f"{name} has shape {got[name]}, must be {want[name]}"
        for name in sorted(want.keys() & got.keys())
        if got[name] != want[name]
    ]
    if problems:
        raise UserError(f"{where} holds weights of another model:\n" + "\n".join(problems))
    if by_layer and not isinstance(config, VQConfig):
        params = unstack_blocks(params, config.num_layers)  # on the host, where that is no copy
    return jax.device_put(params)
