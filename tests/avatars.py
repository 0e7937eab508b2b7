"""Models of random weights that draw pictures of the bundled data's size and classes."""

import dataclasses
import pathlib

from lpd_jax import bundled
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.weights.model_directory import save_model_directory
from tests import tiny

# 4x4 tokens of 16 pixels.
LPD = LPDConfig(
    num_layers=1,
    embed_dim=16,
    num_heads=2,
    mlp_ratio=2,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(bundled.CLASS_NAMES),
)
PAR = dataclasses.replace(tiny.PAR, num_layers=1, num_classes=LPD.num_classes)
LLAMAGEN = dataclasses.replace(PAR, num_parallel=1)
RANDAR = dataclasses.replace(tiny.RANDAR, num_layers=1, num_classes=LPD.num_classes)
VQ = VQConfig(
    base_channels=32,
    channel_multipliers=(1, 1, 1, 1, 1),
    num_res_blocks=1,
    z_channels=32,
    codebook_size=32,
)


def write_model_directory(path, transformer=LPD, seed=0, **generation) -> pathlib.Path:
    """A model directory; `seed` is the tokenizer's."""
    config = {
        "image_size": [64, 64],
        "class_names": list(bundled.CLASS_NAMES),
        "transformer": config_to_dict(transformer),
        "tokenizer": config_to_dict(VQ),
        "generation": generation,
    }
    params = (tiny.random_params(transformer), tiny.random_params(VQ, seed=seed))
    save_model_directory(path, config, *params)
    return pathlib.Path(path)
