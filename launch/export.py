"""Turns a training run into a model directory, the form in which models are used and shared.

    python launch/export.py --workdir=runs/avatars_lpd --output=models/avatars --dtype=float16

Takes the newest checkpoint. A transformer is joined by the tokenizer it was trained with, or by
that of --tokenizer_workdir; a tokenizer's run makes a directory with only a tokenizer. An existing
model directory is replaced; other files in it, such as licences, are kept.
"""

from typing import Any

import jax
from absl import flags, logging

from lpd_jax.data.pictures import image_size
from lpd_jax.models.family import is_tokenizer, tokenizer_of, transformer_of
from lpd_jax.runtime import command_line
from lpd_jax.runtime.buckets import is_bucket, reachable
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig, read_config
from lpd_jax.training.workdir import read_class_names
from lpd_jax.weights.checkpoint import CHECKPOINTS_FOLDER, saved_config
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.loading import Weights, load_weights
from lpd_jax.weights.model_directory import DTYPES, save_model_directory

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Training run of a transformer or a tokenizer; gs://... too."
)
TOKENIZER_WORKDIR = flags.DEFINE_string(
    "tokenizer_workdir", None, "Training run, or model directory, of the transformer's tokenizer."
)
OUTPUT = flags.DEFINE_string("output", None, "Model directory to write.")
DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "What the weights are stored as.")


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    if not OUTPUT.value:
        raise UserError("output: not given; give the model directory to write as --output=DIR")
    if is_bucket(OUTPUT.value):
        raise UserError(f"output: got {OUTPUT.value!r}, allowed is a folder of this machine")
    workdir = WORKDIR.value or TOKENIZER_WORKDIR.value
    if not workdir:
        raise UserError("workdir: not given; give the training run to export as --workdir=DIR")
    folder = reachable("workdir" if WORKDIR.value else "tokenizer_workdir", workdir)
    checkpoints = folder / CHECKPOINTS_FOLDER
    if not checkpoints.is_dir():
        raise FileNotFoundError(f"workdir: got {workdir!r}, which has no folder checkpoints")
    model, run = read_config(saved_config(checkpoints))
    sources = find_sources(workdir, model, run)
    parts = {part: load_weights(path, part, field) for part, (path, field) in sources.items()}
    config = directory_config(parts, run, read_class_names(folder))
    params = {part: weights.params for part, weights in parts.items()}
    save_model_directory(OUTPUT.value, config, **params, dtype=DTYPE.value)
    for part, weights in params.items():
        count = sum(leaf.size for leaf in jax.tree.leaves(weights))
        print(f"{part}: {count:,} parameters from {sources[part][0]}")
    print(f"wrote {OUTPUT.value}")


def find_sources(workdir: str, model: Any, run: TrainConfig) -> dict[str, tuple[str, str]]:
    """Where each model comes from: a folder, and the option to name if it is wrong."""
    if not is_tokenizer(model):
        tokenizer = TOKENIZER_WORKDIR.value or run.tokenizer
        return {
            "transformer": (workdir, "workdir"),
            "tokenizer": (tokenizer, "tokenizer_workdir"),
        }
    if WORKDIR.value and TOKENIZER_WORKDIR.value:
        raise UserError(
            f"tokenizer_workdir: got {TOKENIZER_WORKDIR.value!r}, but workdir {workdir!r} trains a "
            "tokenizer already; give one of them"
        )
    return {"tokenizer": (workdir, "workdir")}


def directory_config(
    parts: dict[str, Weights], run: TrainConfig, class_names: list[str]
) -> DirectoryConfig:
    """What the models are, what they were trained on, how they draw.

    Raises:
        UserError: the tokenizer does not make the transformer's tokens.
    """
    tokenizer, size = parts["tokenizer"].config, image_size(run.data)
    if "transformer" not in parts:
        return DirectoryConfig(None, tokenizer, (size, size), tuple(class_names))
    transformer = parts["transformer"].config
    if transformer.codebook_size != tokenizer.codebook_size:
        raise UserError(
            f"tokenizer_workdir: got a codebook of {tokenizer.codebook_size}, allowed is the "
            f"{transformer.codebook_size} that the transformer was trained with"
        )
    drawn = tokenizer_of(tokenizer).size_of(transformer.grid_size)
    if run.data.dataset != "tokens" and drawn[0] != size:
        raise UserError(
            f"tokenizer_workdir: got one that makes {drawn[0]} pixels of the transformer's grid "
            f"{transformer.grid_size}, allowed is one that makes {size}"
        )
    generation = transformer_of(transformer).defaults().updated(vars(run.generation))
    return DirectoryConfig(transformer, tokenizer, drawn, tuple(class_names), generation)


if __name__ == "__main__":
    command_line.run(main)
