"""The bundled PAR: regions of a 16x16 grid, four tokens at a time, in 67 steps.

    python launch/train.py --config=configs/avatars_par.py --workdir=runs/avatars_par

PAR's objective (arXiv 2412.15119, section 3.2) in the run of configs/avatars_lpd.py, which
`configs/avatars_par.py:short` shortens likewise. Other numbers of tokens and the paper's studies
are options:

    --config.model.num_parallel=1             LlamaGen: one at a time, 256 steps
    --config.model.num_parallel=16            sixteen at a time, 31 steps
    --config.model.num_regions=1              raster order, neighbours at a time
    --config.model.sequential_start=False     the first tokens of the regions at once
    --config.model.group_attention=causal     a group's tokens in sequence, as far as attention goes
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config(run: str = "bundled") -> ConfigDict:
    config = small_recipes.avatars_transformer_run(
        run, "par", num_parallel=4, matrix_std=0.07, embedding_std=0.5, token_drop_rate=0.0
    )
    config.generation = ConfigDict({"guidance_scale": 1.5, "temperature": 1.0})
    return config
