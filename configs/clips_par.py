"""A small PAR of clips: 17 frames of 64x64 pixels as 5x16x16 tokens, four at a time, in 323 steps.

    python launch/train.py --config=configs/clips_par.py --workdir=runs/clips_par

The tokens are those of the bundled tokenizer of clips (configs/clips_tokenizer.py); they are made
once, of the 10,800 clips that `moving_avatars` has to train on and of their mirror images. The
frames come one after another, as in the paper (arXiv 2412.15119, section 4.3), and only the first
four tokens of a clip one by one. Other numbers of tokens at a time are options:

    --config.model.num_parallel=16            sixteen at a time, 95 steps; 1 takes 1,280
    --config.compute.dtype=bfloat16           on a GPU
    --config.compute.products=plain           where a CPU has no products of bfloat16
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_transformer_run()
    config.model = small_recipes.clips_par(num_parallel=4)
    config.generation = ConfigDict({"guidance_scale": 1.5, "temperature": 1.0})
    return config
