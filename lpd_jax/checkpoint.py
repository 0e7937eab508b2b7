"""Training state on disk: Orbax checkpoints that restore onto the mesh of the day."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """Keeps the newest checkpoints of one run: state, data position and config, saved together."""

    def __init__(self, folder: str | pathlib.Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(pathlib.Path(folder).absolute(), options=options)

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


def load_params(folder: str | pathlib.Path) -> tuple[dict, dict]:
    """Parameters and config of the newest checkpoint of a run, on one device.

    Raises:
        ValueError: the folder holds no checkpoint.
    """
    path = pathlib.Path(folder).absolute()
    steps = sorted(int(p.name) for p in path.iterdir() if p.name.isdigit()) if path.is_dir() else []
    if not steps:
        raise ValueError(f"checkpoint folder: got {str(folder)!r}, which holds no checkpoint")
    checkpoints = Checkpoints(path)
    try:
        config = checkpoints.config()
        saved = checkpoints.manager.item_metadata(steps[-1]).state
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), dict(saved)
        )
        return checkpoints.restore(abstract)[0]["params"], config
    finally:
        checkpoints.close()
