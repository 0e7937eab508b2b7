"""A small RandAR: 64x64 avatars as a 16x16 grid, drawn in any order in 88 steps.

    python launch/train.py --config=configs/avatars_randar.py --workdir=runs/avatars_randar

The released recipe (arXiv 2412.01827) scaled down, with a higher rate for a short run, no dropout
and no skipped steps; the size and the tokens are those of configs/avatars_lpd.py.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=3000, batch_size=4)
    config.tokenizer = "lpd_jax/bundled/model"
    config.model = ConfigDict(
        {
            "family": "randar",
            "num_layers": 4,
            "embed_dim": 192,
            "num_heads": 3,
            "grid_size": (16, 16),
            "codebook_size": 1024,
            "num_classes": 12,
            "matrix_std": 0.07,
            "embedding_std": 0.5,
            "label_drop_rate": 0.1,
            "token_drop_rate": 0.0,
            "dropout_rate": 0.0,
        }
    )
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=1.5e-3, cosine_steps=2000, weight_decay=0.05
    )
    config.generation = ConfigDict({"num_steps": 88, "guidance_scale": 2.0})
    config.every = ConfigDict({"log": 50, "evaluate": 1500, "save": 1000, "sample": 1500})
    return config
