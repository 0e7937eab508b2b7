"""The training loop and what a config file may say.

`read_config` makes a model's config and a `TrainConfig` of a config file's fields, `train` runs or
resumes the run, `export_run` makes a model directory of it.
"""

from typing import TYPE_CHECKING

from lpd_jax.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from lpd_jax.training.config import TrainConfig, read_config
    from lpd_jax.training.export import export_run
    from lpd_jax.training.loop import train
    from lpd_jax.training.optimizer import OptimizerConfig
    from lpd_jax.training.train_step import TrainState

__all__ = ["OptimizerConfig", "TrainConfig", "TrainState", "export_run", "read_config", "train"]

# They import the packages of `lpd_jax[train]`.
__getattr__ = on_first_use(
    __name__,
    {
        "OptimizerConfig": "optimizer",
        "TrainConfig": "config",
        "TrainState": "train_step",
        "export_run": "export",
        "read_config": "config",
        "train": "loop",
    },
    extra="train",
)
