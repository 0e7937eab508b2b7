"""LPD of clips: 5x16x16 tokens in 64 steps, in an order near in space and time. An experiment.

    python launch/train.py --config=configs/clips_lpd.py --workdir=runs/clips_lpd

LPD (arXiv 2507.01957) has pictures alone. Here the cells of a clip have neighbours in their own
frame and in the frames before and after: a group lies near what is drawn along all three axes, and
its members lie apart along all three. Size, data and recipe are those of configs/clips_par.py; as
in configs/avatars_lpd.py half of the training orders are locality-aware, the others random.

A pass has 2,560 rows, twice as many as PAR's. In 64 steps it comes to a Fréchet distance of 13.6,
where PAR in 95 comes to 5.2: docs/clips.md.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_transformer_run()
    config.model = small_recipes.clips_transformer("lpd")
    config.locality_share = 0.5
    config.generation = ConfigDict(
        {"order": "locality", "num_steps": 64, "guidance_scale": 1.5, "temperature": 1.0}
    )
    return config
