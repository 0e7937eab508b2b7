"""The bundled tokenizer: 64x64 avatars to a 16x16 grid of 1024 codes.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

A small relative of VQ-8 (LlamaGen): the same blocks with 32 base channels, two resolutions, pixels
folded 2x2 before the first. Codes of 4 numbers lie close enough on their sphere that nearly all of
them are in use from the first steps. Expect 23.9 dB on the validation pictures; about an hour at
26 images/s on 2 CPU cores.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=3600, batch_size=16)
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
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 1.0, "entropy_weight": 0.005}
    )
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=1.5e-3, cosine_steps=3000, weight_decay=0.0
    )
    config.every = ConfigDict({"log": 50, "evaluate": 1800, "save": 400, "sample": 400})
    return config
