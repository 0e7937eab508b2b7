"""Turns training runs into a model directory, the form in which models are used and shared.

    python launch/export.py --workdir=runs/avatars_lpd --tokenizer_workdir=runs/avatars_vq \\
        --output=models/avatars --dtype=float16
    python launch/export.py --tokenizer_workdir=runs/avatars_vq --output=models/avatars_vq

Takes the newest checkpoint of each run. An existing model directory is replaced; other files in it,
such as licences, are kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags, logging

from lpd_jax import bundled, command_line
from lpd_jax.checkpoint import load_params
from lpd_jax.model_directory import DTYPES, flatten_params, save_model_directory
from lpd_jax.models.registry import config_to_dict
from lpd_jax.models.tokenizer import VQConfig
from lpd_jax.training.config import TrainConfig, read_config

WORKDIR = flags.DEFINE_string("workdir", None, "Training run of a transformer.")
TOKENIZER_WORKDIR = flags.DEFINE_string("tokenizer_workdir", None, "Training run of a tokenizer.")
OUTPUT = flags.DEFINE_string("output", None, "Model directory to write.")
DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "What the weights are stored as.")

RUN_FLAGS = {"transformer": "workdir", "tokenizer": "tokenizer_workdir"}


def main() -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it opens
    if not OUTPUT.value:
        raise ValueError("output: not given; give the model directory to write as --output=DIR")
    workdirs = {"transformer": WORKDIR.value, "tokenizer": TOKENIZER_WORKDIR.value}
    if not any(workdirs.values()):
        raise ValueError("workdir, tokenizer_workdir: neither is given; allowed are one or both")
    models, runs, params = {}, {}, {}
    for part, workdir in workdirs.items():
        if workdir:
            models[part], runs[part], params[part] = load_run(part, workdir)
    config = directory_config(models, runs)
    save_model_directory(OUTPUT.value, config, **params, dtype=DTYPE.value)
    for part, weights in params.items():
        count = sum(leaf.size for leaf in flatten_params(weights).values())
        print(f"{part}: {count:,} parameters from {workdirs[part]}")
    print(f"wrote {OUTPUT.value}")


def load_run(part: str, workdir: str) -> tuple[Any, TrainConfig, dict[str, Any]]:
    """Model config, run config and newest parameters; ValueError for a run of the other kind."""
    name = RUN_FLAGS[part]
    checkpoints = Path(workdir).expanduser() / "checkpoints"
    if not checkpoints.is_dir():
        raise FileNotFoundError(f"{name}: got {workdir!r}, which has no folder checkpoints")
    weights, mapping = load_params(checkpoints)
    model, run = read_config(mapping)
    if isinstance(model, VQConfig) != (part == "tokenizer"):
        raise ValueError(f"{name}: got {workdir!r}, which trains no {part}")
    return model, run, weights


def directory_config(models: Mapping[str, Any], runs: Mapping[str, TrainConfig]) -> dict[str, Any]:
    """config.json: what the models are, what they were trained on, how they draw."""
    transformer, tokenizer = models.get("transformer"), models.get("tokenizer")
    if transformer and tokenizer and transformer.codebook_size != tokenizer.codebook_size:
        raise ValueError(
            f"tokenizer_workdir: got a codebook of {tokenizer.codebook_size}, allowed is the "
            f"{transformer.codebook_size} that the transformer was trained with"
        )
    config: dict[str, Any] = {
        "class_names": list(bundled.CLASS_NAMES),
        "transformer": transformer and config_to_dict(transformer),
        "tokenizer": tokenizer and config_to_dict(tokenizer),
    }
    if transformer:
        config["generation"] = vars(runs["transformer"].generation)
    if tokenizer:
        side = bundled.IMAGE_SIZE
        if transformer and transformer.grid_size != (side // tokenizer.downsample_factor,) * 2:
            raise ValueError(
                f"tokenizer_workdir: its tokens are {tokenizer.downsample_factor} pixels wide, "
                f"which does not make the transformer's grid {transformer.grid_size} of {side} "
                "pixels"
            )
        config["image_size"] = [side, side]
    return config


if __name__ == "__main__":
    command_line.run(main)
