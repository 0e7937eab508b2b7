"""Model directories: config.json, model.safetensors, tokenizer.safetensors. What users share.

Parameters are nested dicts of arrays; in the files a leaf is named by its path, "blocks/qkv/bias".
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict

from lpd_jax.models.settings import Generation, name_of_dtype
from lpd_jax.runtime import buckets
from lpd_jax.runtime.arguments import check_choice
from lpd_jax.runtime.atomic_files import (
    check_output_folder,
    replacing_directory,
    replacing_file,
)
from lpd_jax.runtime.errors import PATH_LENGTH, UserError, cut, shown, shown_path
from lpd_jax.runtime.json_files import read_json
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER
from lpd_jax.weights.directory_config import FORMAT_VERSION, DirectoryConfig
from lpd_jax.weights.stored_dtypes import DTYPES, to_dtype
from lpd_jax.weights.weight_files import read_weights

CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
WEIGHT_FILES = {"transformer": "model.safetensors", "tokenizer": "tokenizer.safetensors"}
CHECKPOINTS = (".pth", ".pt", ".safetensors")  # of others


class ModelFiles(NamedTuple):
    """What a model directory holds; NumPy float32 leaves, None for a model that is not in it."""

    config: DirectoryConfig
    transformer: dict[str, Any] | None
    tokenizer: dict[str, Any] | None


def directory_digest(path: str | PathLike) -> str:
    """Names a model directory by what its config and weights hold: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, *sorted(WEIGHT_FILES.values())):
        file = buckets.located("model", path) / name
        if file.is_file():
            with file.open("rb") as content:
                digest.update(
                    f"{name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode()
                )
    return digest.hexdigest()[:16]


def save_model_directory(
    path: str | PathLike,
    config: DirectoryConfig | Mapping[str, Any],
    transformer: Mapping[str, Any] | None = None,
    tokenizer: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    card: str | None = None,
) -> None:
    """Writes a model directory, whole or not at all, in place of an older one.

    Other files of the older one (a licence, a README) are kept. In a bucket, which nothing renames,
    the older one's config.json goes first and the new one's comes last.

    Args:
        path: local, or of a bucket.
        config: typed, or what a config.json says.
        transformer, tokenizer: nested parameters, None for a model that is not in it.
        dtype: what the weights are stored as.
        card: the text of its README.md; None keeps the older one.

    Raises:
        UserError: a bad config, weights without a config or the reverse, weights that `dtype`
            cannot hold, a folder of something else or below a file, or a bucket that cannot be
            reached.
    """
    folder = check_output_folder("output", path)
    dtype = check_choice("dtype", name_of_dtype(dtype), DTYPES)
    kept = [x for x in kept_files(folder) if card is None or x.name != CARD_FILE]
    if not isinstance(config, DirectoryConfig | Mapping):
        raise UserError(f"config: got {shown(config)}, allowed is a mapping of fields")
    if not isinstance(config, DirectoryConfig):
        mapping = {"format_version": FORMAT_VERSION, **config}
        config = DirectoryConfig.from_mapping(mapping, "config")
    weights = {"transformer": transformer, "tokenizer": tokenizer}
    check_parts(config, weights)
    with new_directory(folder, kept) as temporary:
        (temporary / CONFIG_FILE).write_bytes(config_text(config))
        for part, params in weights.items():
            if params is not None:
                file = temporary / WEIGHT_FILES[part]
                leaves = flatten_dict(dict(params), sep="/")
                arrays = to_dtype(leaves, dtype, part)
                if not link_if_same(arrays, folder / file.name, file):
                    safetensors.numpy.save_file(arrays, file)
                # safetensors lets only the owner read, the umask has not been asked.
                shutil.copymode(temporary / CONFIG_FILE, file)
        if card is not None:
            (temporary / CARD_FILE).write_text(card, "utf-8", "backslashreplace")


def check_parts(config: DirectoryConfig, weights: Mapping[str, Any]) -> None:
    """Raises UserError for weights that are none, or that have no config, or the reverse."""
    for part, params in weights.items():
        if not isinstance(params, Mapping | None):
            raise UserError(f"{part}: got {shown(params)}, allowed are nested mappings of arrays")
        if (params is None) != (getattr(config, part) is None):
            raise UserError(
                f"{part}: got only one of weights and config, allowed is both or neither"
            )


def link_if_same(arrays: Mapping[str, np.ndarray], older: Any, file: pathlib.Path) -> bool:
    """Gives an older file of exactly these arrays a second name; False where there is none.

    Saved over itself, a model then needs no room for two.
    """
    if not isinstance(older, pathlib.Path) or not older.is_file():
        return False
    try:
        with safetensors.safe_open(older, framework="numpy") as content:
            if sorted(content.keys()) != sorted(arrays):
                return False
            for name, array in arrays.items():
                there = content.get_tensor(name)
                if (there.shape, there.dtype) != (array.shape, array.dtype):
                    return False
                if there.tobytes() != array.tobytes():
                    return False
        os.link(older, file)
    except Exception:  # noqa: BLE001 - damaged, of a type that NumPy has not, no links: written anew
        file.unlink(missing_ok=True)
        return False
    return True


@contextlib.contextmanager
def new_directory(path: Any, kept: Sequence[Any]) -> Iterator[pathlib.Path]:
    """Gives a local folder whose files take the place of a model directory's, but for `kept`."""
    if not buckets.is_bucket(path):
        with replacing_directory(path) as temporary:
            yield temporary
            for file in kept:
                # Links stay links, wherever they lead, and if to nothing.
                if file.is_dir() and not file.is_symlink():
                    shutil.copytree(file, temporary / file.name, symlinks=True)
                else:
                    shutil.copy2(file, temporary / file.name, follow_symlinks=False)
        return
    with tempfile.TemporaryDirectory(prefix="lpd_jax_") as folder:
        yield (local := pathlib.Path(folder))
        # Without its config.json it is no model directory, and so never half an older one.
        for name in (CONFIG_FILE, *WEIGHT_FILES.values()):
            (path / name).unlink(missing_ok=True)
        for file in sorted(local.iterdir(), key=lambda file: file.name == CONFIG_FILE):
            buckets.copy_file(file, path / file.name)


def kept_files(path: Any) -> list[Any]:
    """Files of an older model directory that a new one keeps.

    Args:
        path: of `pathlib`, or of a bucket's `epath`.

    Raises:
        UserError: the path is a file, or a folder of something else.
    """
    if path.exists() and not path.is_dir():
        raise UserError(
            f"output: got {shown_path(path)}, a file; allowed is a new folder or a model directory"
        )
    files = list(path.iterdir()) if path.is_dir() else []
    if files and not (path / CONFIG_FILE).is_file():
        raise UserError(
            f"output: got {shown_path(path)}, which is no model directory and not empty; allowed "
            "is a new folder or a model directory"
        )
    ours = (CONFIG_FILE, *WEIGHT_FILES.values())
    return [file for file in files if file.name not in ours]


def load_model_directory(path: str | PathLike) -> ModelFiles:
    """Reads a model directory, local or of a bucket.

    Raises:
        FileNotFoundError, UserError: one line on what is wrong with it.
    """
    folder = buckets.located("model directory", path)
    config = read_directory_config(folder)
    weights = {
        part: None if getattr(config, part) is None else _read_part(folder / file)
        for part, file in WEIGHT_FILES.items()
    }
    return ModelFiles(config, **weights)


def read_directory_config(path: str | PathLike) -> DirectoryConfig:
    """Reads and checks config.json alone, and that the weight files it speaks of are there."""
    folder = buckets.located("model directory", path)
    if not folder.is_dir():
        raise FileNotFoundError(f"model directory {cut(str(folder), PATH_LENGTH)} does not exist")
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"model directory {cut(str(folder), PATH_LENGTH)} has no {CONFIG_FILE}{remedy(folder)}"
        )
    try:
        mapping = read_json(file)
    except ValueError as error:  # of JSON, or of the text's encoding
        raise UserError(
            f"{file}: got a file that is damaged or truncated ({error}), allowed is valid JSON"
        ) from None
    config = DirectoryConfig.from_mapping(mapping, str(file))
    for part, weight_file in WEIGHT_FILES.items():
        if getattr(config, part) is not None and not (folder / weight_file).is_file():
            raise FileNotFoundError(
                f"model directory {cut(str(folder), PATH_LENGTH)} has no {weight_file}, though its "
                f"config.json has a {part}"
            )
    return dataclasses.replace(config, where=str(folder))


def remedy(folder: Any) -> str:
    """What makes a model directory of what lies in a folder; "" where nothing known does."""
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        return "; of a run's workdir launch/export.py makes a model directory"
    files = list(folder.iterdir())
    if ours := [file.name for file in files if holds_our_weights(file)]:
        return f"; fetch the one that belongs to its {shown(min(ours))}"
    if found := [file.name for file in files if file.name.endswith(CHECKPOINTS)]:
        return f"; of its {shown(min(found))} launch/convert.py makes one"
    inside = [file for file in files if (file / CONFIG_FILE).is_file()]  # archives hold a folder
    return f"; did you mean {shown_path(min(inside))}?" if inside else ""


def holds_our_weights(file: Any) -> bool:
    """Whether a file is one of a model directory: in others' checkpoints no name has a slash."""
    if file.name not in WEIGHT_FILES.values() or not isinstance(file, pathlib.Path):
        return False
    try:
        with safetensors.safe_open(file, framework="numpy") as content:
            return any("/" in name for name in content.keys())  # noqa: SIM118 - it is no mapping
    except (OSError, safetensors.SafetensorError):
        return False


def check_own_directory(path: str | PathLike, field: str) -> Any:
    """The folder of a model directory; UserError for anything else, such as a bundled model."""
    folder = buckets.located(field, path)
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"{field}: got {shown_path(path)}, allowed is the folder of a model directory, whose "
            f"{CONFIG_FILE} is to be written"
        )
    return folder


def write_generation(path: str | PathLike, generation: Generation) -> None:
    """Makes these choices what a model directory draws with where nobody says; see `Generation`.

    Raises:
        UserError: no model directory.
    """
    folder = check_own_directory(path, "model")
    config = dataclasses.replace(read_directory_config(folder), generation=generation)
    with replacing_file(folder / CONFIG_FILE, "the config") as temporary:
        temporary.write_bytes(config_text(config))


def config_text(config: DirectoryConfig) -> bytes:
    """What a config.json holds."""
    text = json.dumps(config.to_mapping(), indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # half a character, as JSON has it


def _read_part(file: Any) -> dict[str, Any]:
    """The weights of a file, local or of a bucket, whose own name errors say."""
    with buckets.local_copy(file.parent, [file.name]) as folder:
        return read_weights(folder / file.name)[0]
