"""Weights that a run takes over: of a model directory, or of another run's newest checkpoint."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.models.family import ModelConfig, abstract_params, config_from_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.buckets import local_copy, reachable
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.checkpoint import CHECKPOINTS_FOLDER, saved_params
from lpd_jax.weights.from_torch.conversion import resize_position_embedding
from lpd_jax.weights.model_directory import (
    CONFIG_FILE,
    WEIGHT_FILES,
    flatten_params,
    load_model_directory,
)

# What may differ between the model that weights come from and the model that starts from them.
FREE_FIELDS = ("grid_size", "label_drop_rate", "token_drop_rate", "dropout_rate")


class Weights(NamedTuple):
    config: Any  # LPDConfig, PARConfig or VQConfig
    params: Any  # nested dictionaries of NumPy arrays


def load_weights(path: str, part: str, field: str) -> Weights:
    """One model of a model directory, or of a training run's workdir.

    Args:
        path: the folder, local or of a bucket (`gs://...`).
        part: "transformer" or "tokenizer".
        field: the config field that holds the path, for errors.

    Raises:
        UserError: no path, no such folder, none of `part` in it, or a bucket that cannot be read.
    """
    allowed = f"allowed is a model directory or a workdir that holds a {part}"
    if not path:
        raise UserError(f"{field}: missing; {allowed}")
    folder = reachable(field, path)
    if (folder / CONFIG_FILE).is_file():
        with local_copy(folder, (CONFIG_FILE, *WEIGHT_FILES.values())) as local:
            files = load_model_directory(local)
        config, params = files.config.get(part), getattr(files, part)
    elif (folder / CHECKPOINTS_FOLDER).is_dir():
        params, saved = saved_params(folder / CHECKPOINTS_FOLDER)
        config = saved["model"]
    else:
        raise UserError(f"{field}: got {path!r}, which is neither; {allowed}")
    model = config_from_dict(config, f"{field}: {path}: {part}") if config else None
    if model is None or isinstance(model, VQConfig) != (part == "tokenizer"):
        raise UserError(f"{field}: got {path!r}, which holds no {part}; {allowed}")
    return Weights(model, jax.tree.map(np.asarray, params))


def initial_params(path: str, model: ModelConfig) -> Any:
    """Parameters to start training `model` from; the position table is resized to its grid.

    Raises:
        UserError: weights of another model, naming all in which it differs.
    """
    part = "tokenizer" if isinstance(model, VQConfig) else "transformer"
    source = load_weights(path, part, "init_from")
    differing = [
        f"{name} (there {there!r}, here {getattr(model, name)!r})"
        for name, there in vars(source.config).items()
        if name not in FREE_FIELDS and there != getattr(model, name)
    ]
    if differing:
        raise UserError(
            f"init_from: got {path!r}, a model of other sizes; differing: {'; '.join(differing)}"
        )
    params = source.params
    if isinstance(model, LPDConfig):
        params = resize_position_embedding(params, source.config.grid_size, model.grid_size)
    check_shapes(params, model, path)
    return params


def check_shapes(params: Any, model: ModelConfig, path: str) -> None:
    """Raises one UserError naming every leaf that is missing, unexpected or misshapen."""
    got = {name: leaf.shape for name, leaf in flatten_params(params).items()}
    want = {name: leaf.shape for name, leaf in flatten_params(abstract_params(model)).items()}
    problems = [
        f"{name} ({got.get(name, 'missing')}, must be {want.get(name, 'absent')})"
        for name in sorted({*got, *want})
        if got.get(name) != want.get(name)
    ]
    if problems:
        raise UserError(f"init_from: got {path!r}, whose weights differ: {'; '.join(problems)}")
