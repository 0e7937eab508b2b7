"""Model directories: config.json, model.safetensors, tokenizer.safetensors. What users share.

Parameters are nested dicts of arrays; in the files a leaf is named by its path, "blocks/qkv/bias".
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from lpd_jax.runtime.atomic_files import replacing_directory
from lpd_jax.runtime.errors import UserError

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHT_FILES = {"transformer": "model.safetensors", "tokenizer": "tokenizer.safetensors"}
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

# Field: the types its value may have. What is inside transformer and tokenizer is the registry's.
FIELDS = {
    "format_version": int,
    "image_size": list,
    "class_names": list,
    "transformer": (dict, type(None)),
    "tokenizer": (dict, type(None)),
    "generation": dict,
}
GENERATION_FIELDS = {
    "order": str,
    "num_steps": (int, type(None)),
    "guidance_scale": (int, float),
    "guidance_schedule": str,
    "temperature": (int, float),
    "top_k": int,
    "top_p": (int, float),
    "proximity_threshold": (int, float),
    "repulsion_threshold": (int, type(None)),
    "output_size": (int, type(None)),
}


class ModelFiles(NamedTuple):
    """What a model directory holds; NumPy float32 leaves, None for a model that is not in it."""

    config: dict[str, Any]
    transformer: dict[str, Any] | None
    tokenizer: dict[str, Any] | None


def save_model_directory(
    path: str | PathLike,
    config: Mapping[str, Any],
    transformer: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> None:
    """Writes a model directory, whole or not at all, in place of an older one.

    Other files of the older one (a licence, a README) are kept. Raises ValueError for a bad config,
    weights without a config or the reverse, and weights that `dtype` cannot hold.
    """
    path = Path(path).expanduser()
    if dtype not in DTYPES:
        raise UserError(f"dtype: got {dtype!r}, allowed are {', '.join(DTYPES)}")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; allowed is a new folder or a model directory")
    kept = list(path.iterdir()) if path.is_dir() else []
    if kept and not (path / CONFIG_FILE).is_file():
        raise UserError(f"{path} is no model directory and not empty, so it is not replaced")
    config = {"format_version": FORMAT_VERSION, **config}
    check_config(config, "config")
    weights = {"transformer": transformer, "tokenizer": tokenizer}
    for part, params in weights.items():
        if (params is None) != (config.get(part) is None):
            raise UserError(f"{part}: weights and config go together, only one was given")
    with replacing_directory(path) as temporary:
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (temporary / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        for part, params in weights.items():
            if params is not None:
                file = temporary / WEIGHT_FILES[part]
                safetensors.numpy.save_file(_to_dtype(flatten_params(params), dtype), file)
                # safetensors lets only the owner read, the umask has not been asked.
                shutil.copymode(temporary / CONFIG_FILE, file)
        for file in kept:
            if file.name not in (CONFIG_FILE, *WEIGHT_FILES.values()):
                copy = shutil.copytree if file.is_dir() else shutil.copy2
                copy(file, temporary / file.name)


def load_model_directory(path: str | PathLike) -> ModelFiles:
    """Reads a model directory. One FileNotFoundError or ValueError names what is wrong with it."""
    path = Path(path).expanduser()
    config = load_config(path)
    weights = {
        part: None if config.get(part) is None else _load_weights(path / file)
        for part, file in WEIGHT_FILES.items()
    }
    return ModelFiles(config, **weights)


def load_config(path: str | PathLike) -> dict[str, Any]:
    """Reads and checks config.json alone, and that the weight files it speaks of are there."""
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"model directory {path} does not exist")
    file = path / CONFIG_FILE
    if not file.is_file():
        raise FileNotFoundError(f"model directory {path} has no {CONFIG_FILE}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged or truncated, not valid JSON: {error}") from None
    check_config(config, str(file))
    for part, weight_file in WEIGHT_FILES.items():
        if config.get(part) is not None and not (path / weight_file).is_file():
            raise FileNotFoundError(
                f"model directory {path} has no {weight_file}, though its config.json has a {part}"
            )
    return config


def check_config(config: Any, where: str) -> None:
    """Raises one ValueError naming the first unknown, missing or ill-typed field."""
    if not isinstance(config, dict):
        raise UserError(f"{where}: got {type(config).__name__}, allowed is an object with fields")
    version = config.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "; it was written by a newer lpd_jax: update lpd_jax" if newer else ""
        raise UserError(f"{where}: format_version: got {version!r}, allowed is 1{hint}")
    _check_fields(config, FIELDS, where)
    _check_fields(config.get("generation", {}), GENERATION_FIELDS, f"{where}: generation")
    if config.get("transformer") is None and config.get("tokenizer") is None:
        raise UserError(f"{where}: neither transformer nor tokenizer; allowed is one or both")
    names, size = config.get("class_names", []), config.get("image_size", [1, 1])
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: class_names: allowed is a list of strings")
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"{where}: image_size: got {size!r}, allowed is [height, width] in pixels")


def _check_fields(values: dict[str, Any], fields: dict[str, Any], where: str) -> None:
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"{where}: unknown field {name!r}; allowed are {', '.join(fields)}")
        kinds = fields[name] if isinstance(fields[name], tuple) else (fields[name],)
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise UserError(f"{where}: {name}: got {value!r}, allowed is {wanted}")


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"norm": {"scale": x}} -> {"norm/scale": x}."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten_params(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def weights_digest(params: Mapping[str, Any]) -> str:
    """Names weights by their names and float32 values: what other weights gave does not compare."""
    leaves = flatten_params(params)
    digest = hashlib.sha256()
    for name in sorted(leaves):
        digest.update(name.encode() + np.asarray(leaves[name], np.float32).tobytes())
    return digest.hexdigest()[:16]


def unflatten_params(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"norm/scale": x} -> {"norm": {"scale": x}}."""
    params: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        node = params
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = value
    return params


def _to_dtype(flat: Mapping[str, Any], dtype: str) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in sorted(flat.items()):
        value = np.asarray(value, np.float32)
        # safetensors writes the buffer as it lies in memory, so it has to lie in C order. Weights
        # that do so already are not copied: a model of 3 billion takes 12 GB.
        with np.errstate(over="ignore"):
            arrays[name] = np.asarray(value, dtype=DTYPES[dtype], order="C")
        if not np.isfinite(arrays[name].astype(np.float32, copy=False)).all():
            largest = np.abs(value).max()
            raise UserError(f"{name}: values up to {largest} are not finite numbers in {dtype}")
    return arrays


def _load_weights(file: Path) -> dict[str, Any]:
    try:
        flat = safetensors.numpy.load_file(file)
    except safetensors.SafetensorError as error:
        size = file.stat().st_size
        raise UserError(
            f"{file} ({size:,} bytes) is truncated or damaged, fetch it again: {error}"
        ) from None
    return unflatten_params({name: value.astype(np.float32) for name, value in flat.items()})
