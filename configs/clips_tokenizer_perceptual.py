"""The small tokenizer of clips, taken on: by what EfficientNet sees of each frame and a PatchGAN.

    pip install 'lpd_jax[perceptual]'
    python launch/train.py --config=configs/clips_tokenizer_perceptual.py \
      --workdir=runs/clips_tokenizer_perceptual

It goes on from the average of the weights of `runs/clips_tokenizer` (configs/clips_tokenizer.py).
The discriminator looks at clips, with convolutions of 3x3x3 and LeCAM, as Open-MAGVIT2's does; the
weights are those of configs/avatars_vq_perceptual.py. Not trained: they are not measured on clips.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_run(num_steps=1000, batch_size=4)
    config.init_from = "runs/clips_tokenizer"
    config.compute.products = "bfloat16"  # of a CPU with AMX; "plain" where there is none
    config.model = small_recipes.clips_tokenizer("video", time_strides=(2, 2))
    config.data.random_views = True
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 0.5, "perceptual_weight": 0.002}
    )
    config.perceptual = ConfigDict({"network": "efficientnet_lite0", "num_stages": 3})
    config.adversarial = ConfigDict(
        {
            "weight": 0.1,
            "start_step": 200,
            "adaptive": True,
            "generator_loss": "non_saturating_by_picture",
            "lecam_weight": 0.05,
        }
    )
    config.discriminator = ConfigDict(
        {"channels": 16, "num_layers": 2, "norm": "group", "frames": True}
    )
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=3e-4, cosine_steps=800, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 25, "evaluate": 500, "save": 100, "sample": 250})
    return config
