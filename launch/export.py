"""Turns a training run into a model directory, the form in which models are used and shared.

    python launch/export.py --workdir=runs/avatars_lpd --output=models/avatars --dtype=float16

Takes the newest checkpoint. A transformer is joined by the tokenizer it was trained with, or by
that of --tokenizer_workdir; a tokenizer's run makes a directory with only a tokenizer. An existing
model directory is replaced; other files in it, such as licences, are kept.
"""

from typing import Any

from absl import flags, logging

from lpd_jax.data.pictures import image_size
from lpd_jax.generation.request import generation_choices
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime import command_line
from lpd_jax.runtime.buckets import is_bucket, reachable
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig, read_config
from lpd_jax.training.workdir import read_class_names
from lpd_jax.weights.checkpoint import CHECKPOINTS_FOLDER, saved_config
from lpd_jax.weights.loading import Weights, load_weights
from lpd_jax.weights.model_directory import DTYPES, flatten_params, save_model_directory

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
        count = sum(leaf.size for leaf in flatten_params(weights).values())
        print(f"{part}: {count:,} parameters from {sources[part][0]}")
    print(f"wrote {OUTPUT.value}")


def find_sources(workdir: str, model: Any, run: TrainConfig) -> dict[str, tuple[str, str]]:
    """Where each model comes from: a folder, and the option to name if it is wrong."""
    if not isinstance(model, VQConfig):
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
) -> dict[str, Any]:
    """config.json: what the models are, what they were trained on, how they draw.

    Raises:
        UserError: the tokenizer does not make the transformer's tokens.
    """
    tokenizer = parts["tokenizer"].config
    config = {"class_names": class_names, "tokenizer": config_to_dict(tokenizer)}
    if "transformer" not in parts:
        return config | {"image_size": [image_size(run.data)] * 2}
    transformer = parts["transformer"].config
    if transformer.codebook_size != tokenizer.codebook_size:
        raise UserError(
            f"tokenizer_workdir: got a codebook of {tokenizer.codebook_size}, allowed is the "
            f"{transformer.codebook_size} that the transformer was trained with"
        )
    side = transformer.grid_size[0] * tokenizer.downsample_factor
    if run.data.dataset != "tokens" and side != image_size(run.data):
        raise UserError(
            f"tokenizer_workdir: its tokens are {tokenizer.downsample_factor} pixels wide, which "
            f"does not make the transformer's grid {transformer.grid_size} of "
            f"{image_size(run.data)} pixels"
        )
    return config | {
        "image_size": [n * tokenizer.downsample_factor for n in transformer.grid_size],
        "transformer": config_to_dict(transformer),
        "generation": generation_choices(transformer, vars(run.generation)),
    }


if __name__ == "__main__":
    command_line.run(main)
