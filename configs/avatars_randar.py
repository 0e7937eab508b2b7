"""A small RandAR on the bundled avatars: any order, the published 88 steps.

    python launch/train.py --config=configs/avatars_randar.py:short --workdir=runs/avatars_randar

RandAR's objective (arXiv 2412.01827) in the run of configs/avatars_lpd.py.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config(run: str = "bundled") -> ConfigDict:
    config = small_recipes.avatars_transformer_run(
        run, "randar", matrix_std=0.07, embedding_std=0.5, token_drop_rate=0.0
    )
    config.generation = ConfigDict({"num_steps": 88})
    return config
