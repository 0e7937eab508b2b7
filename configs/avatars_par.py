"""A small PAR: 64x64 avatars as a 16x16 grid, four tokens at a time, 67 steps in place of 256.

    python launch/train.py --config=configs/avatars_par.py --workdir=runs/avatars_par

The paper's recipe (arXiv 2412.15119, section 4.1) scaled down, with a higher rate for a short run
and no dropout; the size and the tokens are those of configs/avatars_lpd.py. Other numbers of
tokens and the paper's studies are options:

    --config.model.num_parallel=16            sixteen at a time, 31 steps; 1 is LlamaGen
    --config.model.num_regions=1              raster order, neighbours at a time
    --config.model.sequential_start=False     the first tokens of the regions at once
    --config.model.group_attention=causal     a group's tokens in sequence, as far as attention goes
"""

from ml_collections import ConfigDict

from lpd_jax.training import recipes


def get_config() -> ConfigDict:
    config = recipes.avatars_run(num_steps=3000, batch_size=4)
    config.tokenizer = "lpd_jax/bundled/model"
    config.model = ConfigDict(
        {
            "family": "par",
            "num_layers": 4,
            "embed_dim": 192,
            "num_heads": 3,
            "num_parallel": 4,
            "grid_size": (16, 16),
            "codebook_size": 1024,
            "matrix_std": 0.07,
            "embedding_std": 0.5,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            "token_drop_rate": 0.0,
            "dropout_rate": 0.0,
        }
    )
    config.optimizer = recipes.avatars_optimizer(
        learning_rate=1.5e-3, cosine_steps=2000, weight_decay=0.05
    )
    config.generation = ConfigDict({"guidance_scale": 2.0, "temperature": 1.0})
    config.every = ConfigDict({"log": 50, "evaluate": 1500, "save": 1000, "sample": 1500})
    return config
