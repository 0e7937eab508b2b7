"""PAR-3B-4x at 384 pixels, judged at 256: 3.1 B parameters, 4 tokens at a time, 147 steps.

    python launch/train.py --config=configs/par_3b_4x.py --workdir=gs://BUCKET/par_3b_4x

Expected (published, arXiv 2412.15119): FID 2.29 and IS 255.5 in 147 steps at guidance 1.345.
Parameters and optimizer take 37 GB, cut over mesh.fsdp devices.
Before it, once: the tokens of ten crops of every image in two sizes, by the published VQ-16.

    python launch/convert.py --input=vq_ds16_c2i.pt --output=models/vq16
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/par_3b_4x.py --config.data.dataset=tfds \
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
    config = recipes.par_run("par_3b_4x", batch_size=512, learning_rate=2e-4)
    config.mesh.fsdp = 16
    return config
