"""The bundled LPD: 64x64 avatars as a 16x16 grid, drawn in any order in the published 20 steps.

    python launch/train.py --config=configs/avatars_lpd.py --workdir=runs/avatars_lpd \\
        --config.compute.dtype=bfloat16
    python launch/train.py --config=configs/avatars_lpd.py:short --workdir=runs/avatars_lpd_short

LPD's objective (arXiv 2507.01957, section 3.1) on the tokens of the bundled tokenizer, by the
recipe of `small_recipes.avatars_transformer_run`, with half of the orders locality-aware. The first
command trains the bundled weights on a GPU; the second a smaller model for 8 epochs, which two CPU
cores can do.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config(run: str = "bundled") -> ConfigDict:
    config = small_recipes.avatars_transformer_run(run, "lpd")
    config.init_from = ""  # or a model directory, or a workdir, to start from its weights
    config.locality_share = 0.5
    config.generation = ConfigDict(
        {"order": "locality", "num_steps": 20, "guidance_scale": 2.0, "temperature": 1.0}
    )
    return config
