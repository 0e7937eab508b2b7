"""LlamaGen-B at 384 pixels, judged at 256: 111 M parameters, 576 steps, one a token.

    python launch/train.py --config=configs/llamagen_b.py --workdir=gs://BUCKET/llamagen_b

Parameters and optimizer take 1.3 GB.
Before it, once: the tokens of ten crops of every image in two sizes, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/llamagen_b.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=384 \
        --ten_crop --crop_ratio=1.1,1.05 --split=$split --output=data/imagenet384_tokens
    done

The recipe is that of LlamaGen's released code (arXiv 2406.06525): 300 epochs at a constant rate.
The rate and the batch, 1e-4 at batch 256, are not in its scripts: its authors named
them when they were asked (issue 8 of FoundationVision/LlamaGen).
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.llamagen_run("llamagen_b", batch_size=256, learning_rate=1e-4)
