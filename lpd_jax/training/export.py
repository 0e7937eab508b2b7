"""A training run as a model directory: its newest weights, with the tokenizer that it used."""

import os
from typing import Any

from lpd_jax.data.pictures import image_shape, image_size
from lpd_jax.models.family import is_tokenizer, tokenizer_of, transformer_of
from lpd_jax.runtime.arguments import check_choice, check_text
from lpd_jax.runtime.atomic_files import check_output_folder
from lpd_jax.runtime.buckets import reachable
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.training.config import TrainConfig, read_config
from lpd_jax.training.workdir import TOKENIZER, read_class_names, read_data
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import find_model_directory
from lpd_jax.weights.loading import Weights, load_weights
from lpd_jax.weights.model_directory import ModelFiles, load_model_directory, save_model_directory
from lpd_jax.weights.parameters import weights_digest
from lpd_jax.weights.saved_runs import saved_config
from lpd_jax.weights.stored_dtypes import DTYPES

# Which model: the folder that it comes from, and the option to name if that is wrong.
Sources = dict[str, tuple[str, str]]


def export_run(
    output: str, workdir: str = "", tokenizer_workdir: str = "", dtype: str = "float32"
) -> dict[str, tuple[str, Weights]]:
    """Writes a model directory of the newest checkpoint of a run.

    Args:
        output: the folder to write, local or of a bucket; see `save_model_directory`.
        workdir: of the run, local or of a bucket.
        tokenizer_workdir: where the tokenizer of a transformer comes from, a run or a model
            directory, if not from where it was trained with; alone, the run of a tokenizer.
        dtype: what the weights are stored as.

    Returns:
        By model, "transformer" and "tokenizer": where it came from, and its weights.

    Raises:
        FileNotFoundError, UserError: names the argument that is wrong or does not fit the others.
    """
    given = {"output": output, "workdir": workdir, "tokenizer_workdir": tokenizer_workdir}
    for name, path in given.items():
        check_text(name, os.fspath(path) if isinstance(path, os.PathLike) else path, "a path")
    check_choice("dtype", dtype, DTYPES)
    if not output:
        raise UserError("output: missing; give the model directory to write as --output=DIR")
    reachable("output", check_output_folder("output", output))
    sources, parts, config = read_run(workdir, tokenizer_workdir)
    params = {part: weights.params for part, weights in parts.items()}
    save_model_directory(output, config, **params, dtype=dtype)
    return {part: (sources[part][0], weights) for part, weights in parts.items()}


def load_run(workdir: str, tokenizer_workdir: str = "") -> ModelFiles:
    """The newest checkpoint of a run as `load_model_directory` would give it, once exported."""
    _, parts, config = read_run(workdir, tokenizer_workdir)
    params = {part: weights.params for part, weights in parts.items()}
    return ModelFiles(config, params.get("transformer"), params.get("tokenizer"))


def load_models(name: str) -> ModelFiles:
    """The models of a name or directory, as a `Pipeline` takes them, or of a training run.

    Raises:
        FileNotFoundError, UserError: one line on what is wrong.
    """
    if name and (reachable("model", name) / CHECKPOINTS_FOLDER).is_dir():
        return load_run(name)
    return load_model_directory(find_model_directory(name))


def read_run(
    workdir: str, tokenizer_workdir: str
) -> tuple[Sources, dict[str, Weights], DirectoryConfig]:
    """Where a run's models come from, their weights, and what a model directory says of them."""
    field = "workdir" if workdir else "tokenizer_workdir"
    trained_in = workdir or tokenizer_workdir
    if not trained_in:
        raise UserError("workdir: missing; give the training run to export as --workdir=DIR")
    folder = reachable(field, trained_in)
    checkpoints = folder / CHECKPOINTS_FOLDER
    if not checkpoints.is_dir():
        raise FileNotFoundError(
            f"workdir: got {shown_path(trained_in)}, which has no folder checkpoints"
        )
    model, run = read_config(saved_config(checkpoints))
    sources = find_sources(model, run, workdir, tokenizer_workdir)
    parts = {part: load_weights(path, part, field) for part, (path, field) in sources.items()}
    if "transformer" in parts and not tokenizer_workdir:
        check_tokenizer_learned(folder, run.tokenizer, parts["tokenizer"])
    return sources, parts, exported_config(parts, run, read_class_names(folder))


def check_tokenizer_learned(folder: Any, path: str, tokenizer: Weights) -> None:
    """Raises UserError where the tokenizer has changed since a run has learned its tokens.

    Runs that are older than the digests of their tokenizers say nothing of it.
    """
    learned = read_data(folder).get(TOKENIZER)
    digest = weights_digest(tokenizer.params, tokenizer.config)
    if learned not in (None, digest):
        raise UserError(
            f"tokenizer_workdir: missing, and {shown_path(path)} is of digest {digest} by now, "
            f"allowed is {learned}, whose tokens the run has learned; name where that lies, or "
            "this one if you want it all the same"
        )


def find_sources(model: Any, run: TrainConfig, workdir: str, tokenizer_workdir: str) -> Sources:
    """Where each model comes from; UserError where two tokenizers are given."""
    trained_in = workdir or tokenizer_workdir
    if not is_tokenizer(model):
        return {
            "transformer": (trained_in, "workdir"),
            "tokenizer": (tokenizer_workdir or run.tokenizer, "tokenizer_workdir"),
        }
    if workdir and tokenizer_workdir:
        raise UserError(
            f"tokenizer_workdir: got {shown_path(tokenizer_workdir)}, but workdir "
            f"{shown_path(workdir)} trains a tokenizer already; give one of them"
        )
    return {"tokenizer": (trained_in, "workdir")}


def exported_config(
    parts: dict[str, Weights], run: TrainConfig, class_names: list[str]
) -> DirectoryConfig:
    """What the models are, what they were trained on, how they draw.

    Raises:
        UserError: the tokenizer does not make the transformer's tokens.
    """
    tokenizer, size = parts["tokenizer"].config, image_size(run.data)
    if "transformer" not in parts:
        return DirectoryConfig(None, tokenizer, image_shape(run.data), tuple(class_names))
    transformer = parts["transformer"].config
    if transformer.codebook_size != tokenizer.codebook_size:
        raise UserError(
            f"tokenizer_workdir: got a codebook of {tokenizer.codebook_size}, allowed is the "
            f"{transformer.codebook_size} that the transformer was trained with"
        )
    drawn = tokenizer_of(tokenizer).size_of(transformer.grid_size)
    if run.data.dataset != "tokens" and drawn[-2] != size:
        raise UserError(
            f"tokenizer_workdir: got one that makes {drawn[-2]} pixels of the transformer's grid "
            f"{transformer.grid_size}, allowed is one that makes {size}"
        )
    generation = transformer_of(transformer).defaults().updated(vars(run.generation))
    return DirectoryConfig(transformer, tokenizer, drawn, tuple(class_names), generation)
