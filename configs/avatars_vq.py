"""The bundled tokenizer: 64x64 avatars to a 16x16 grid of 1024 codes.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

A small relative of VQ-8 (LlamaGen): the same blocks with 32 base channels, two resolutions, pixels
folded 2x2 before the first. Codes of 4 numbers lie close enough on their sphere that nearly all of
them are in use from the first steps. Expect 23.9 dB on the validation pictures; about an hour at
26 images/s on 2 CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 3600
    config.batch_size = 16
    config.model = ConfigDict(
        {
            "family": "vq",
            "base_channels": 32,
            "channel_multipliers": (1, 2),
            "num_res_blocks": 1,
            "z_channels": 64,
            "codebook_size": 1024,
            "codebook_dim": 4,
            "patch_size": 2,
        }
    )
    config.data = ConfigDict({"dataset": "avatars12"})
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 1.0, "entropy_weight": 0.005}
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": 1.5e-3,
            "final_learning_rate": 1e-5,
            "warmup_steps": 100,
            "cosine_steps": 3000,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
        }
    )
    config.mesh = ConfigDict({"data": -1})
    config.compute = ConfigDict({"dtype": "float32"})
    config.fid = ConfigDict({"num_images": 0, "network": "avatars12"})  # FID by our classifier
    config.every = ConfigDict({"log": 50, "evaluate": 1800, "save": 400, "sample": 400})
    return config
