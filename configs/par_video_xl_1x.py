"""PAR-XL-1x on clips: UCF-101, 17 frames of 128x128 pixels, one token at a time, 1280 steps.

    python launch/train.py --config=configs/par_video_xl_1x.py \
      --workdir=gs://BUCKET/par_video_xl_1x

Expected (published, arXiv 2412.15119, section 4.3): FVD 94.1 in 1280 steps at guidance 1.15,
among the likeliest 8,000 of 64,000 codes.
The tokens are made as in configs/par_video_xl_4x.py.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.par_video_run("par_video_xl_1x")
