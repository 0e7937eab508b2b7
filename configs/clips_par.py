"""A small PAR of clips: 17 frames of 64x64 pixels as 5x8x8 tokens, four at a time, in 83 steps.

    python launch/train.py --config=configs/clips_par.py --workdir=runs/clips_par

The tokens are those of configs/clips_tokenizer.py, trained before it; they are made once, of the
10,800 clips that `moving_avatars` has to train on. The frames come one after another, as in the
paper (arXiv 2412.15119, section 4.3), and only the first four tokens of a clip one by one. Other
numbers of tokens at a time are options:

    --config.model.num_parallel=16            sixteen at a time, 35 steps; 1 takes 320
    --config.compute.products=plain           where the processor has no products of bfloat16
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_run(num_steps=5000, batch_size=8)
    config.compute.products = "bfloat16"
    config.tokenizer = "runs/clips_tokenizer"
    config.model = ConfigDict(
        {
            "family": "par",
            "num_layers": 5,
            "embed_dim": 256,
            "num_heads": 4,
            "num_parallel": 4,
            "grid_size": (5, 8, 8),
            "codebook_size": 4096,
            "matrix_std": 0.06,
            "embedding_std": 0.5,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            "token_drop_rate": 0.0,
            "dropout_rate": 0.0,
        }
    )
    config.optimizer = small_recipes.avatars_optimizer(
        learning_rate=1e-3, cosine_steps=3500, weight_decay=0.05
    )
    config.ema_decay = 0.998
    config.generation = ConfigDict({"guidance_scale": 1.5, "temperature": 1.0})
    config.every = ConfigDict({"log": 50, "evaluate": 1000, "save": 500, "sample": 1000})
    return config
