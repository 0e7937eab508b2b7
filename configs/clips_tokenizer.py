"""The tokenizer of small clips: 17 frames of 64x64 pixels to 5x16x16 tokens of 4096 codes.

    python launch/train.py --config=configs/clips_tokenizer.py --workdir=runs/clips_tokenizer

4.4 million parameters in the manner of NBP's tokenizer, which PAR's experiments on video use:
causal convolutions over frames and pixels, FSQ of four numbers of eight levels. A token has 4x4
pixels of four frames, the first frame tokens of its own. It starts from its twin for pictures
(configs/clips_tokenizer_pictures.py), which learns the faces before they move:

    --config.init_from=runs/clips_tokenizer_pictures

Tokens of 8x8 pixels were tried: 12 bits are too few for 64 of these pixels (17 dB after 2,000
clips).

The networks see pixels less the mean of the data, which is bright: tokens would begin alike, and
learn late to differ. It learns from `moving_avatars`, clips that are made while it trains of the
bundled pictures: 12 classes of faces that bounce, roll, swing or turn round, anew in every epoch.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_run(num_steps=3000, batch_size=4)
    config.model = small_recipes.clips_tokenizer("video", time_strides=(2, 2))
    config.data.random_views = True
    config.compute.products = "bfloat16"  # of a CPU with AMX; "plain" where there is none
    config.tokenizer_loss = ConfigDict({"l2_weight": 1.0, "l1_weight": 0.5})
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=5e-4, cosine_steps=1500, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 25, "evaluate": 1000, "save": 250, "sample": 500})
    return config
