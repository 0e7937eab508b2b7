"""The twin for pictures of the small tokenizer of clips, to start that one from.

    python launch/train.py --config=configs/clips_tokenizer_pictures.py \
      --workdir=runs/clips_tokenizer_pictures
    python launch/train.py --config=configs/clips_tokenizer.py --workdir=runs/clips_tokenizer \
      --config.init_from=runs/clips_tokenizer_pictures

The same layers without time, on the first frames of clips: a step costs a small part of one on
clips. Its kernels become the last time tap of the tokenizer of clips, which then gives of a single
frame what this gives of the picture, and learns from there what moves. The bundled tokenizer of
clips began so; whether it saves time in the end is not measured.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_run(num_steps=2000, batch_size=16)
    config.data.num_frames = 0  # pictures
    config.compute.products = "bfloat16"  # of a CPU with AMX; "plain" where there is none
    config.model = small_recipes.clips_tokenizer("video_pictures")
    config.data.random_views = True
    config.tokenizer_loss = ConfigDict({"l2_weight": 1.0, "l1_weight": 0.5})
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=1e-3, cosine_steps=1400, weight_decay=0.0
    )
    config.ema_decay = 0.998
    config.every = ConfigDict({"log": 50, "evaluate": 500, "save": 250, "sample": 250})
    return config
