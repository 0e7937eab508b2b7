"""The bundled tokenizer: 64x64 avatars to a 16x16 grid of 4096 codes, decoder first.

    python launch/train.py --config=configs/avatars_vq.py --workdir=runs/avatars_vq

1.7 million parameters, most of them in the decoder. Codes are FSQ's, four numbers of eight levels:
none is learned, none can die, and none is searched for. Pictures are written at half size with 16
channels and unfolded; the last convolution over pixels keeps the edges of squares from showing.

Expect 30.4 dB on the validation pictures, each batch of 8 for itself; 1.5 hours at 18 images/s on
one CPU core.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.avatars_run(num_steps=12_000, batch_size=8)
    config.model = small_recipes.avatars_tokenizer()
    config.tokenizer_loss = ConfigDict({"l2_weight": 1.0, "l1_weight": 0.5})
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=1e-3, cosine_steps=7000, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 500, "sample": 1000})
    return config
