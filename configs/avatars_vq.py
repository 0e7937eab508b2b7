"""The bundled tokenizer: 64x64 avatars to an 8x8 grid of 1024 codes.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

A small relative of VQ-8 (LlamaGen): same blocks, 32 base channels, pixels folded 4x4.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 3000
    config.batch_size = 16
    config.model = ConfigDict(
        {
            "family": "vq",
            "base_channels": 32,
            "channel_multipliers": (2, 3),
            "num_res_blocks": 1,
            "z_channels": 64,
            "codebook_size": 1024,
            "codebook_dim": 8,
            "patch_size": 4,
        }
    )
    config.data = ConfigDict({"dataset": "avatars12"})
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 0.5, "entropy_weight": 0.05}
    )
    config.optimizer = ConfigDict(
        {
            "learning_rate": 6e-4,
            "final_learning_rate": 1e-5,
            "warmup_steps": 100,
            "cosine_steps": 2200,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
        }
    )
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 300, "sample": 300})
    return config
