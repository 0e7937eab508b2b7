"""ARPG-L at 256 pixels: 320 M parameters, any order, 64 steps for 256 tokens.

    python launch/train.py --config=configs/arpg_l.py --workdir=gs://BUCKET/arpg_l

Expected (published, arXiv 2503.10568 and its code): FID 2.38 in 64 steps at guidance 5.0,
2.30 and IS 297.7 in 32 steps at 5.4.
Parameters and optimizer take 4 GB.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/arpg_l.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=256 \
        --split=$split --output=data/imagenet256_tokens
    done

The recipe is ARPG's: 400 epochs, 100 of warm-up, then cosine to 1e-5; rate 1e-4 for each 256
images of the batch. Which crops its authors trained on is not known here: these are LPD's.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.arpg_run("arpg_l", batch_size=1024, learning_rate=4e-4)
