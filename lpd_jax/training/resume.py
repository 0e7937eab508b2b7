"""What is refused before a run begins, and what stops one."""

import os
import pathlib
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import config_to_json, read_config

# What may change between parts of a run: how long, how often, where, and by which means.
FREE_FIELDS = (
    "num_steps",
    "every",
    "mesh",
    "keep_checkpoints",
    "keep_every",
    "generation",
    "fid",
    "init_from",
    "wandb_project",
    "compute.remat",
    "compute.attention",
    "compute.accumulate_steps",
    "data.path",
    "data.num_threads",
    "optimizer.stop_grad_norm",
)


def check_writable(name: str, folder: pathlib.Path) -> None:
    """Raises ValueError where a folder is not, and cannot become, a place to write; makes none."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "cannot be written to" if nearest.is_dir() else "is a file"
        raise UserError(
            f"{name}: got {str(folder)!r}, but {nearest} {problem}; allowed is a new folder or "
            "that of a run to go on with"
        )


def check_validation(count: int, batch_size: int) -> None:
    """Raises ValueError where the validation set does not fill one batch."""
    if batch_size > count:
        raise UserError(
            f"batch_size: got {batch_size}, allowed is at most the {count} validation images"
        )


def check_same_config(wanted: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raises ValueError naming the fields in which a workdir's run differs from the one asked for.

    Fields that the saved config lacks, since they are newer than it, count as their defaults.
    """
    there, here = (
        {
            name.replace("/", "."): value
            for name, value in flatten_dict(fields, sep="/").items()
            if not is_free(name.replace("/", "."))
        }
        for fields in (config_to_json(*read_config(saved)), wanted)
    )
    differing = [
        f"{name} (there {there.get(name)!r}, here {here.get(name)!r})"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise UserError(
            f"workdir: holds a run of another config; differing: {'; '.join(differing)}"
        )


def is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in FREE_FIELDS)


def check_health(step: int, metrics: dict[str, float], stop_grad_norm: float) -> None:
    """Raises FloatingPointError naming a step with a loss or gradient that no run survives.

    Args:
        step: the step.
        metrics: `loss` and `grad_norm` among them.
        stop_grad_norm: a gradient longer than this counts as an explosion; 0 is no limit.
    """
    for name in ("loss", "grad_norm"):
        if not np.isfinite(metrics[name]):
            raise FloatingPointError(f"step {step}: {name} is {metrics[name]}; training stops")
    if 0 < stop_grad_norm < metrics["grad_norm"]:
        raise FloatingPointError(
            f"step {step}: grad_norm is {metrics['grad_norm']:.4g}, above optimizer.stop_grad_norm "
            f"{stop_grad_norm:g}; training stops"
        )
