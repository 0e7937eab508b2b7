"""What a run has saved, read without the run: parameters, config, the newest step."""

import contextlib
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import orbax.checkpoint as ocp

from lpd_jax.runtime.buckets import absolute
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.weights.checkpoint import Checkpoints, log_damage
from lpd_jax.weights.checkpoint_copies import committed_steps, is_copied

TRIES = 5  # of reading what a run replaces meanwhile


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
    params_and_config: tuple[dict, dict] = read_newest(folder, Checkpoints.read_params, warn)
    return params_and_config


def saved_config(folder: str | PathLike) -> dict:
    """The config that a run's newest checkpoint was saved with; writes nothing.

    Raises:
        UserError: the folder holds no checkpoint, or none whose config can be read.
    """
    config: dict = read_newest(folder, Checkpoints.read_config, lambda text: None, items=["config"])
    return config


def read_newest(
    folder: str | PathLike,
    read: Callable[[Checkpoints, int], Any],
    warn: Callable[[str], None],
    items: Sequence[str] = (),
    tries: int = TRIES,
) -> Any:
    """What `read` gives of the newest step, while the run may go on and replace its checkpoints."""
    newest, warnings = newest_step(folder), list[str]()
    try:
        with contextlib.closing(Checkpoints(folder, read_only=True, items=items)) as opened:
            found = opened.newest_readable(lambda step: read(opened, step), warnings.append)[1]
    except (UserError, FileNotFoundError) as error:
        was_replaced = isinstance(error, FileNotFoundError) or newest_step(folder) != newest
        if tries == 1 or not was_replaced:
            raise
        return read_newest(folder, read, warn, items, tries - 1)
    for text in warnings:
        warn(text)
    return found


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
