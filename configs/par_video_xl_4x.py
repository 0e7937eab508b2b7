"""PAR-XL-4x on clips: UCF-101, 17 frames of 128x128 pixels, 4 tokens at a time, 323 steps.

    python launch/train.py --config=configs/par_video_xl_4x.py \
      --workdir=gs://BUCKET/par_video_xl_4x

Expected (published, arXiv 2412.15119, section 4.3): FVD 99.5 in 323 steps at guidance 1.15,
among the likeliest 8,000 of 64,000 codes.

Before it, once: the tokens of every clip, its 17 frames in the middle at 8 a second, and their
mirror; the paper drew windows anew. The tokenizer is NBP's, the same as PAR's.

    python launch/convert.py --input=magvit2_ucf.pt --output=models/nbp_video
    for split in train validation; do
      python launch/cache_tokens.py --config=configs/par_video_xl_4x.py \
        --config.data.dataset=clips --config.data.path=UCF-101 \
        --config.data.lists=ucfTrainTestlist --config.data.image_size=128 \
        --split=$split --output=data/ucf101_tokens
    done

The paper counts 792 M parameters; XL's 36 layers of 1,280 and two tables of 64,000 codes are 895 M.
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    return recipes.par_video_run("par_video_xl_4x")
