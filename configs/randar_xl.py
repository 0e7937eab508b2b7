"""RandAR-XL at 256 pixels: 775 M parameters, any order, 88 steps for 256 tokens.

    python launch/train.py --config=configs/randar_xl.py --workdir=gs://BUCKET/randar_xl

Expected (of the released weights, arXiv 2412.01827): FID 2.27 and IS 275 in 88 steps at
guidance 4.0.
Parameters and optimizer take 9 GB.
Before it, once: the tokens of ImageNet and of its mirror, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/randar_xl.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=256 \
        --split=$split --output=data/imagenet256_tokens
    done

The recipe is that of RandAR's released code: 360,000 steps at batch 1024, 50,000 of warm-up, then
cosine to a twentieth of the rate; a step whose gradient's norms sum to 10 after clipping is left
out. Under its launcher the rate moves on once a process, so that its warm-up of 50,000 was shorter
in steps. The paper's own models had a constant rate that fell linearly at the end.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.randar_run("randar_xl")
    config.mesh.fsdp = 4
    return config
