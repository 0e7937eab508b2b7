"""PAR of clips in groups of time: one cell of all five frames at once, in 260 steps. An experiment.

    python launch/train.py --config=configs/clips_par_temporal.py --workdir=runs/clips_par_temporal

The paper tried groups of neighbouring frames, says they are worse than groups within a frame and
gives no number (arXiv 2412.15119, section 4.3): what happens at one place at several times depends
on itself. This is configs/clips_par.py, by the same recipe, with one region for each frame: the
first cell of the five frames comes one by one, every other in all of them at once.

    --config.model.num_parallel=20 --config.model.region_split="(5,2,2)"
        time and space, twenty at once, 83 steps; "(1,2,2)" with 4 is configs/clips_par.py

It comes to a Fréchet distance of 15.7, where configs/clips_par.py comes to 3.2: docs/clips.md.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config() -> ConfigDict:
    config = small_recipes.clips_transformer_run()
    config.model = small_recipes.clips_par(num_parallel=5, region_split=(5, 1, 1))
    config.generation = ConfigDict({"guidance_scale": 1.5, "temperature": 1.0})
    return config
