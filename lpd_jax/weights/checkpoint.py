"""Training state on disk: Orbax checkpoints that restore onto the mesh of the day."""

import functools
import operator
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.event_loops import tasks_end_before_errors as settling_loops


class Checkpoints:
    """Checkpoints of one run: state, data position and config, saved together or not at all.

    Args:
        folder: local, or of a bucket (`gs://...`).
        keep: how many of the newest stay.
        keep_every: those of every so many steps stay for good; 0 is none.
        read_only: neither makes the folder nor changes anything in it.
    """

    def __init__(
        self, folder: str | PathLike, keep: int = 2, keep_every: int = 0, read_only: bool = False
    ):
        self.folder = absolute(folder)
        options = ocp.CheckpointManagerOptions(
            create=not read_only,
            read_only=read_only,
            max_to_keep=None if read_only else keep,
            keep_period=None if read_only else keep_every or None,
            save_interval_steps=0 if read_only else 1,
        )
        # Said here, an item's metadata can be read before the item.
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def save(self, step: int, state: Any, data_position: dict, config: dict) -> None:
        """Starts saving; returns once the arrays are copied, while files are still written."""
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave(data_position),
            config=ocp.args.JsonSave(config),
        )
        self.manager.save(step, args=items, force=True)

    def latest_step(self) -> int | None:
        return self.manager.latest_step()

    def restore(
        self, abstract_state: Any, warn: Callable[[str], None] = logging.warning
    ) -> tuple[Any, dict]:
        """The newest state that can be read, and its data position.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` with the shardings wanted now; those
                of the run that saved do not matter.
            warn: told of each newer checkpoint that cannot be read; it is renamed, never deleted.

        Raises:
            ValueError: there is none that can be read.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
        )
        step, restored = self.newest_readable(items, warn)
        for newer in self.newer_than(step):
            self.set_aside(newer)
        return restored.state, restored.data

    def config(self) -> dict:
        """The config that the newest checkpoint was saved with."""
        items = ocp.args.Composite(config=ocp.args.JsonRestore())
        return self.newest_readable(items, warn=lambda text: None)[1].config

    @settling_loops()
    def newest_readable(self, items: Any, warn: Callable[[str], None]) -> tuple[int, Any]:
        """Step and items of the newest checkpoint whose items can be read."""
        problems = []
        for step in self.newer_than(-1):
            try:
                return step, self.manager.restore(step, args=items)
            # Whatever a damaged file makes its reader raise.
            except Exception as error:  # noqa: BLE001
                reason = next(iter(str(error).splitlines()), "") or type(error).__name__
                problems.append(f"checkpoint {self.folder / str(step)}: cannot be read: {reason}")
                warn(problems[-1] + "; taking the one before")
        raise UserError("; ".join(problems) or f"checkpoint folder: {self.folder} holds none")

    def newer_than(self, step: int) -> list[int]:
        """Steps of the checkpoints after `step`, newest first."""
        return sorted((other for other in self.manager.all_steps() if other > step), reverse=True)

    def set_aside(self, step: int) -> None:
        """Renames a checkpoint, so that its step can be saved again."""
        if jax.process_index() == 0:
            aside = self.folder / f"unreadable_{step}"
            while aside.exists():
                aside = self.folder / f"{aside.name}_again"
            (self.folder / str(step)).rename(aside)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set_aside_{step}")
        self.manager.reload()

    def close(self) -> None:
        """Waits for files still being written."""
        self.manager.wait_until_finished()
        self.manager.close()


def absolute(folder: str | PathLike) -> epath.Path:
    """A local folder from the root on, or that of a bucket as it is."""
    path = epath.Path(folder)
    return path if "://" in str(folder) else epath.Path(path.expanduser().absolute())


@settling_loops()
def load_params(folder: str | PathLike) -> tuple[dict, dict]:
    """Parameters and config of the newest checkpoint of a run, on one device; writes nothing.

    Where the optimizer's state holds a running average of the parameters, it is taken.

    Raises:
        ValueError: the folder holds no checkpoint.
    """
    step = newest_step(folder)
    if step is None:
        raise UserError(f"checkpoint folder: got {str(folder)!r}, which holds no checkpoint")
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        saved = dict(checkpoints.manager.item_metadata(step).state)
        *parents, name = params_path(saved)
        # Of all else, the optimizer's moments above all, nothing is read.
        wanted = jax.tree.map(lambda _: ocp.PLACEHOLDER, saved)
        descend(wanted, parents)[name] = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            descend(saved, parents)[name],
        )
        arguments = ocp.args.PyTreeRestore(
            wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted)
        )
        path = checkpoints.folder / str(step) / "state"
        restored = ocp.PyTreeCheckpointer().restore(path, arguments)
        return descend(restored, parents)[name], checkpoints.config()
    finally:
        checkpoints.close()


def params_path(saved: dict) -> tuple:
    """Keys that lead to the parameters, or to their average: last in the optimizer's chain."""
    last = (saved.get("opt_state") or [None])[-1]
    if isinstance(last, dict) and "average" in last:
        return "opt_state", -1, "average"
    return ("params",)


def descend(tree: Any, keys: Iterable[Any]) -> Any:
    return functools.reduce(operator.getitem, keys, tree)


def load_config(folder: str | PathLike) -> dict:
    """The config that the newest checkpoint of a run was saved with; writes nothing."""
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        return checkpoints.config()
    finally:
        checkpoints.close()


def newest_step(folder: str | PathLike) -> int | None:
    """The step of the newest checkpoint in a folder, None if there is none; writes nothing."""
    path = absolute(folder)
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)
