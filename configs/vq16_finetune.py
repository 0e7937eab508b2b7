"""VQ-16 from the released weights, on pictures of your own: the decoder alone, or all of it.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    python launch/train.py --config=configs/vq16_finetune.py --workdir=runs/vq16_mine \
      --config.data.path=PICTURES

The decoder alone: tokens stay what they were, so that transformers and their tokens stay as good.
All of it: `--config.trained_parts="()"`, and every transformer has to learn the new tokens.
Expected: better than the released weights on pictures unlike ImageNet's; nobody has published how
much, and we have not measured it.
Hardware: one GPU of 80 GB, or any mesh whose data x fsdp divides the batch.

The discriminator counts from the first step, as in the released code where it fine-tunes. It is
new, and its first judgements are worth little: `--config.adversarial.start_step=1000` is gentler.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.llamagen_tokenizer_run("vq16", epochs=1)
    config.init_from = "models/vq16"
    config.trained_parts = ("decoder", "post_quant_conv")
    config.data.path = "data/pictures"
    config.adversarial.start_step = 0
    return config
