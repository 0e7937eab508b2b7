"""A small ARPG on the bundled avatars: any order, the published 64 steps.

    python launch/train.py --config=configs/avatars_arpg.py:short --workdir=runs/avatars_arpg

ARPG's objective (arXiv 2503.10568) in the run of configs/avatars_lpd.py. Of its layers one half
reads and the other asks. What is not as published is an option:

    --config.model.turned_queries=True    queries know where they are, as RandAR's do
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config(run: str = "bundled") -> ConfigDict:
    config = small_recipes.avatars_transformer_run(
        run, "arpg", matrix_std=0.07, embedding_std=0.5, token_drop_rate=0.0
    )
    config.generation = ConfigDict({"num_steps": 64})
    return config
