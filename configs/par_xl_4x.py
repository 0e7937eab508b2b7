"""PAR-XL-4x at 384 pixels, judged at 256: 775 M parameters, 4 tokens at a time, 147 steps.

    python launch/train.py --config=configs/par_xl_4x.py --workdir=gs://BUCKET/par_xl_4x

Expected (published, arXiv 2412.15119): FID 2.61 and IS 259.2 in 147 steps at guidance 1.5.
Parameters and optimizer take 9 GB, cut over mesh.fsdp devices.
Before it, once: the tokens of ten crops of every image in two sizes, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/par_xl_4x.py --config.data.dataset=tfds \
        --config.data.name=imagenet2012 --config.data.path= --config.data.image_size=384 \
        --ten_crop --crop_ratio=1.1,1.05 --split=$split --output=data/imagenet384_tokens
    done

The recipe is that of PAR's paper (section 4.1): 300 epochs, 15 of warm-up, then cosine to 0. The
released code differs: a constant rate of 1e-4 at batch 256, without warm-up. Which of the two
made the released weights is not known.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.par_run("par_xl_4x", batch_size=256, learning_rate=1e-4)
    config.mesh.fsdp = 8
    return config
