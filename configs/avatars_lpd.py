"""The bundled LPD: 64x64 avatars as a 16x16 grid, drawn in any order in the published 20 steps.

    python launch/train.py --config=configs/avatars_lpd.py --workdir=runs/avatars_lpd

Needs the tokenizer of configs/avatars_vq.py, or any directory with it
(`--config.tokenizer=lpd_jax/bundled/model`). The recipe is LPD's (section 4.1) scaled down, with a
higher rate for a short run; about 7 images/s on 2 CPU cores, an hour and a half in all.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 2500
    config.batch_size = 16
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
    config.data = ConfigDict({"dataset": "avatars12"})
    config.optimizer = ConfigDict(
        {
            "learning_rate": 2e-3,
            "final_learning_rate": 1e-5,
            "warmup_steps": 100,
            "cosine_steps": 1800,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.02,
            "clip_norm": 1.0,
        }
    )
    config.generation = ConfigDict(
        {"order": "locality", "num_steps": 20, "guidance_scale": 2.0, "temperature": 0.9}
    )
    config.mesh = ConfigDict({"data": -1})
    config.compute = ConfigDict({"dtype": "float32"})
    config.fid = ConfigDict({"num_images": 0, "network": "avatars12"})  # FID by our classifier
    config.every = ConfigDict({"log": 50, "evaluate": 1200, "save": 200, "sample": 300})
    return config
