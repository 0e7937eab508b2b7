"""Models of random weights that draw clips of the size and classes of `moving_avatars`."""

import dataclasses
import pathlib

from lpd_jax.data.moving_avatars import NAMES
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.weights.model_directory import save_model_directory
from tests import tiny

# 5x4x4 tokens of four frames of 16x16 pixels.
TOKENIZER = dataclasses.replace(
    tiny.VIDEO, channel_multipliers=(1, 1, 1), time_strides=(2, 2), patch_size=4
)
PAR = dataclasses.replace(
    tiny.PAR, num_layers=1, grid_size=(5, 4, 4), num_parallel=4, num_classes=len(NAMES)
)
LPD = LPDConfig(
    num_layers=1,
    embed_dim=16,
    num_heads=2,
    mlp_ratio=2,
    grid_size=PAR.grid_size,
    codebook_size=PAR.codebook_size,
    num_classes=PAR.num_classes,
)


def write_model_directory(path, transformer=PAR, seed=0, **generation) -> pathlib.Path:
    """A model directory; `seed` is the tokenizer's."""
    config = {
        "image_size": [17, 64, 64],
        "class_names": list(NAMES),
        "transformer": config_to_dict(transformer),
        "tokenizer": config_to_dict(TOKENIZER),
        "generation": generation,
    }
    params = (tiny.random_params(transformer), tiny.random_params(TOKENIZER, seed=seed))
    save_model_directory(path, config, *params)
    return pathlib.Path(path)
