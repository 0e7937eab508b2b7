"""What a run has saved, read without the run: parameters, config, the newest step."""

from collections.abc import Callable
from os import PathLike

import orbax.checkpoint as ocp

from lpd_jax.runtime.buckets import absolute
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.weights.checkpoint import Checkpoints, log_damage
from lpd_jax.weights.checkpoint_copies import committed_steps, is_copied


def saved_params(
    folder: str | PathLike, warn: Callable[[str], None] = log_damage
) -> tuple[dict, dict]:
    """Parameters and config of a run's newest checkpoint, on one device; writes nothing.

    Where the run keeps a running average of the parameters, it is taken.

    Args:
        folder: of the checkpoints.
        warn: told of each newer checkpoint that cannot be read.

    Raises:
        UserError: the folder holds no checkpoint, or none that can be read.
    """
    if newest_step(folder) is None:
        raise UserError(f"checkpoint folder: got {shown_path(folder)}, which holds no checkpoint")
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        return checkpoints.newest_readable(checkpoints.read_params, warn)[1]
    finally:
        checkpoints.close()


def saved_config(folder: str | PathLike) -> dict:
    """The config that a run's newest checkpoint was saved with; writes nothing.

    Raises:
        UserError: the folder holds no checkpoint, or none whose config can be read.
    """
    checkpoints = Checkpoints(folder, read_only=True, items=["config"])
    try:
        return checkpoints.newest_readable(checkpoints.read_config, warn=lambda text: None)[1]
    finally:
        checkpoints.close()


def newest_step(folder: str | PathLike) -> int | None:
    """The step of the newest finished checkpoint in a folder, None without one; writes nothing."""
    path = absolute(folder)
    if is_copied(path):
        return next(iter(committed_steps(path)), None)
    names = [x.name for x in path.iterdir()] if path.is_dir() else []
    for step in sorted((int(name) for name in names if name.isdecimal()), reverse=True):
        # A bucket cannot rename: there an unfinished one has its final name already.
        if ocp.utils.is_checkpoint_finalized(path / str(step)):
            return step
    return None
