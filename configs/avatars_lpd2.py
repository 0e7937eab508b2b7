"""The bundled LPD: 64x64 avatars as a 16x16 grid, drawn in any order in the published 20 steps.

    python launch/train.py --config=configs/avatars_lpd2.py --workdir=runs/avatars_lpd2

LPD's objective (section 3.1) on the tokens of the bundled tokenizer, by a recipe for two CPU cores:
half of the orders locality-aware, Muon, an average of the weights, products of bfloat16 where the
processor has them (`--config.compute.products=plain` where not). docs/bundled-model.md has what
each of these is worth.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=27_000, batch_size=16)
    config.tokenizer = "lpd_jax/bundled/tokenizer"
    config.init_from = ""  # or a model directory, or a workdir, to start from its weights
    config.model = ConfigDict(
        {
            "family": "lpd",
            "num_layers": 4,
            "embed_dim": 192,
            "num_heads": 3,
            "grid_size": (16, 16),
            "codebook_size": 4096,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.0,
        }
    )
    config.compute.products = "bfloat16"
    config.locality_share = 0.5
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=5e-3, cosine_steps=7000, weight_decay=0.02
    )
    config.optimizer.name = "muon"
    config.ema_decay = 0.999
    config.generation = ConfigDict({"order": "locality", "num_steps": 20})
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 200, "sample": 1000})
    return config
