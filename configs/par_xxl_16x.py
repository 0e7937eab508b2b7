"""PAR-XXL-16x at 384 pixels, judged at 256: 1.4 B parameters, 16 tokens at a time, 51 steps.

    python launch/train.py --config=configs/par_xxl_16x.py --workdir=gs://BUCKET/par_xxl_16x

Expected (published, arXiv 2412.15119): FID 3.02 and IS 270.6 in 51 steps at guidance 1.435, the
scale of 4x: the paper names none for this model.
Parameters and optimizer take 17 GB, cut over mesh.fsdp devices.
Before it, once: the tokens of ten crops of every image in two sizes, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/par_xxl_16x.py --config.data.dataset=tfds \
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
    config = recipes.par_run("par_xxl_16x", batch_size=512, learning_rate=2e-4)
    config.mesh.fsdp = 8
    return config
