"""ARPG-XL at 256 pixels: 719 M parameters, any order, 64 steps for 256 tokens.

    python launch/train.py --config=configs/arpg_xl.py --workdir=gs://BUCKET/arpg_xl

Expected (published, arXiv 2503.10568 and its code): FID 2.02 in 64 steps at guidance 6.0,
1.93 and IS 349.2 in 32 steps at 6.6.
Parameters and optimizer take 9 GB.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/arpg_xl.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=256 \
        --split=$split --output=data/imagenet256_tokens
    done

The recipe is ARPG's: 400 epochs, 100 of warm-up, then cosine to 1e-5; rate 1e-4 for each 256
images of the batch. Which crops its authors trained on is not known here: these are LPD's.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.arpg_run("arpg_xl", batch_size=768, learning_rate=3e-4)
    config.mesh.fsdp = 4
    return config
