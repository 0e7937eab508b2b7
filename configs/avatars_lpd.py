"""The bundled LPD: 64x64 avatars as a 16x16 grid, drawn in any order in the published 20 steps.

    python launch/train.py --config=configs/avatars_lpd.py --workdir=runs/avatars_lpd

LPD's objective (section 3.1) on the tokens of the bundled tokenizer, by the recipe for two CPU
cores of `small_recipes.avatars_transformer_run`, with half of the orders locality-aware: 40
epochs, eleven hours at 11 pictures/s on one core. docs/bundled-model.md says what the bundled
weights had of it.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.avatars_transformer_run(num_steps=27_000, cosine_steps=7000)
    config.init_from = ""  # or a model directory, or a workdir, to start from its weights
    config.model = small_recipes.avatars_transformer("lpd")
    config.locality_share = 0.5
    config.generation = ConfigDict(
        {"order": "locality", "num_steps": 20, "guidance_scale": 2.0, "temperature": 0.9}
    )
    return config
