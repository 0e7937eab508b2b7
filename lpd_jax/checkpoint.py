"""Training state on disk: Orbax checkpoints that restore onto the mesh of the day."""

import functools
import operator
import pathlib
from collections.abc import Iterable
from os import PathLike
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """Keeps the newest checkpoints of one run: state, data position and config, saved together."""

    def __init__(self, folder: str | PathLike, keep: int = 2, read_only: bool = False):
        writing: dict[str, Any] = {"create": True, "max_to_keep": keep}
        reading: dict[str, Any] = {"create": False, "read_only": True, "save_interval_steps": 0}
        options = ocp.CheckpointManagerOptions(**(reading if read_only else writing))
        # Said here, an item's metadata can be read before the item.
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        self.folder = pathlib.Path(folder).expanduser().absolute()
        self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)

    def save(self, step: int, state: Any, data_position: dict, config: dict) -> None:
        """Starts saving; returns once the arrays are copied, while files are still written."""
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave(data_position),
            config=ocp.args.JsonSave(config),
        )
        self.manager.save(step, args=items)

    def latest_step(self) -> int | None:
        return self.manager.latest_step()

    def restore(self, abstract_state: Any) -> tuple[Any, dict]:
        """The newest state and its data position.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` with the shardings wanted now; those
                of the run that saved do not matter.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
        )
        restored = self.manager.restore(self.latest_step(), args=items)
        return restored.state, restored.data

    def config(self) -> dict:
        """The config that the newest checkpoint was saved with."""
        items = ocp.args.Composite(config=ocp.args.JsonRestore())
        return self.manager.restore(self.latest_step(), args=items).config

    def close(self) -> None:
        """Waits for files still being written."""
        self.manager.wait_until_finished()
        self.manager.close()


def load_params(folder: str | PathLike) -> tuple[dict, dict]:
    """Parameters and config of the newest checkpoint of a run, on one device; writes nothing.

    Where the optimizer's state holds a running average of the parameters, it is taken.

    Raises:
        ValueError: the folder holds no checkpoint.
    """
    step = newest_step(folder)
    if step is None:
        raise ValueError(f"checkpoint folder: got {str(folder)!r}, which holds no checkpoint")
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
    path = pathlib.Path(folder).expanduser()
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)
