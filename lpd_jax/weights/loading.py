"""Weights that a run takes over: of a model directory, or of another run's newest checkpoint."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from lpd_jax.models.family import config_from_dict, family_of, is_tokenizer, transformer_of
from lpd_jax.runtime.buckets import is_bucket, reachable
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.random_keys import random_key
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER
from lpd_jax.weights.hub import BUNDLED_MODELS, bundled_folder, holds_a_model
from lpd_jax.weights.model_directory import CONFIG_FILE, load_model_directory
from lpd_jax.weights.parameters import check_same_shapes, shapes_of, wanted_shapes
from lpd_jax.weights.saved_runs import newest_step, saved_config, saved_params

# What may differ between the model that weights come from and the model that starts from them.
FREE_FIELDS = ("grid_size", "num_classes", "label_drop_rate", "token_drop_rate", "dropout_rate")


class Weights(NamedTuple):
    config: Any  # of a family
    params: Any  # nested dictionaries of NumPy arrays


def load_weights(path: str, part: str, field: str) -> Weights:
    """One model of a model directory, of a training run's workdir, or of a bundled model.

    Args:
        path: the folder, local or of a bucket (`gs://...`), or the bundled model's name, where no
            folder of that name holds a model.
        part: "transformer" or "tokenizer".
        field: the config field that holds the path, for errors.

    Raises:
        UserError: no path, no such folder, none of `part` in it, or a bucket that cannot be read.
    """
    allowed = f"allowed is a model directory or a workdir that holds a {part}"
    if not path:
        raise UserError(f"{field}: missing; {allowed}")
    folder = reachable(field, path)
    if path in BUNDLED_MODELS and not holds_a_model(folder):
        folder = bundled_folder(path)
    checkpoints = folder / CHECKPOINTS_FOLDER
    if (folder / CONFIG_FILE).is_file() and not holds_run_of(part, checkpoints):
        files = load_model_directory(folder)
        model, params = getattr(files.config, part), getattr(files, part)
    elif checkpoints.is_dir():
        params, saved = saved_params(checkpoints)
        model = config_from_dict(saved["model"], f"{field}: {path}: model")
    else:
        hint = f", such as {shown_path(around)}" if (around := holder_of(folder)) else ""
        raise UserError(f"{field}: got {shown_path(path)}, which is neither; {allowed}{hint}")
    if model is None or is_tokenizer(model) != (part == "tokenizer"):
        raise UserError(f"{field}: got {shown_path(path)}, which holds no {part}; {allowed}")
    return Weights(model, jax.tree.map(np.asarray, params))


def holder_of(path: Any) -> str:
    """The model directory or run that a path lies in, as a checkpoint does; "" for none."""
    if is_bucket(path) or not path.exists():
        return ""
    return next((str(folder) for folder in path.parents if holds_a_model(folder)), "")


def holds_run_of(part: str, checkpoints: Any) -> bool:
    """Whether a run of that part has saved here; it was started in a model directory then."""
    if newest_step(checkpoints) is None:
        return False
    trained = config_from_dict(saved_config(checkpoints)["model"])
    return is_tokenizer(trained) == (part == "tokenizer")


def initial_params(
    path: str,
    model: Any,
    new_classes: bool = False,
    seed: int = 0,
    tell: Callable[[str], object] = lambda line: None,
) -> Any:
    """Parameters to start training `model` from.

    The position table is resized to the model's grid, a tokenizer of pictures is inflated to one of
    clips. The class table, with the row of no class, is made anew where the number of classes is
    another; all else is kept.

    Args:
        new_classes: make the class table anew for the same number of classes, too.
        seed: of a new class table.
        tell: called with a line about a new class table.

    Raises:
        UserError: weights of another model, naming all in which it differs.
    """
    part = "tokenizer" if is_tokenizer(model) else "transformer"
    source = load_weights(path, part, "init_from")
    check_can_start(path, source.config, model)
    params = family_of(model).from_other(source.params, source.config)
    old_number = getattr(source.config, "num_classes", None)
    if new_classes or old_number != getattr(model, "num_classes", None):
        params = {**params, **fresh_class_leaves(model, seed)}
        tell(
            f"init_from: {path}: a new class table for {model.num_classes} classes (there "
            f"{old_number}), all other weights are kept"
        )
    check_same_shapes(
        shapes_of(params), wanted_shapes(model), f"init_from: got {shown_path(path)}, which"
    )
    return params


def check_can_start(path: str, source: Any, model: Any) -> None:
    """Raises UserError where `model` cannot start from weights of the config `source`."""
    family, there = family_of(model), family_of(source).name
    if there not in (family.name, *family.starts_from):
        known = " and ".join(map(shown, (family.name, *family.starts_from)))
        raise UserError(
            f"init_from: got {shown_path(path)}, which holds family {shown(there)}, allowed is "
            f"{known}"
        )
    free = (*FREE_FIELDS, *family.starts_from.get(there, ()))
    differing = [
        f"{name} (there {shown(theirs)}, here {shown(getattr(model, name))})"
        for name, theirs in vars(source).items()
        if name not in free and theirs != getattr(model, name)
    ]
    if differing:
        raise UserError(
            f"init_from: got {shown_path(path)}, a model of other sizes; differing: "
            f"{'; '.join(differing)}"
        )


def fresh_class_leaves(model: Any, seed: int) -> dict[str, np.ndarray]:
    """What a transformer knows of classes, as if it had never been trained."""
    names = () if is_tokenizer(model) else transformer_of(model).class_leaves
    if not names:
        raise UserError(
            f"new_classes: got True, or another number of classes, allowed for family "
            f"{shown(family_of(model).name)} is neither: it has no class table of its own"
        )

    @jax.jit  # leaves that are not asked for are not made
    def init(key: jax.Array) -> dict[str, jax.Array]:
        params = nn.unbox(transformer_of(model).init(key))
        return {name: params[name] for name in names}

    return jax.tree.map(np.asarray, init(random_key(seed)))
