"""The bundled LPD: 64x64 avatars as a 16x16 grid, drawn in any order in the published 20 steps.

    python launch/train.py --config=configs/avatars_lpd.py --workdir=runs/avatars_lpd

Needs the tokenizer of configs/avatars_vq.py, or any directory with it
(`--config.tokenizer=lpd_jax/bundled/model`). The recipe is LPD's (section 4.1) scaled down, with a
higher rate for a short run; about 7 images/s on 2 CPU cores, an hour and a half in all.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=2500, batch_size=16)
    config.tokenizer = "runs/avatars_vq"
    config.init_from = ""  # or a model directory, or a workdir, to start from its weights
    config.model = ConfigDict(
        {
            "family": "lpd",
            "num_layers": 4,
            "embed_dim": 192,
            "num_heads": 3,
            "grid_size": (16, 16),
            "codebook_size": 1024,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.0,
        }
    )
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=2e-3, cosine_steps=1800, weight_decay=0.02
    )
    config.generation = ConfigDict(
        {"order": "locality", "num_steps": 20, "guidance_scale": 2.0, "temperature": 0.9}
    )
    config.every = ConfigDict({"log": 50, "evaluate": 1200, "save": 200, "sample": 300})
    return config
