"""Training state on disk: Orbax checkpoints that restore onto the mesh of the day."""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from lpd_jax.runtime.buckets import absolute
from lpd_jax.runtime.disk_faults import free_bytes, writing
from lpd_jax.runtime.errors import UserError, cut, shown_path
from lpd_jax.runtime.event_loops import tasks_end_before_errors
from lpd_jax.runtime.interrupts import interrupts_wait
from lpd_jax.weights.checkpoint_copies import Copies, is_copied
from lpd_jax.weights.checkpoint_faults import (
    Place,
    checkpoint_bytes,
    make_room,
    quiet_threads,
    remove_unfinished,
    saving_threads,
    whole_or_not_there,
)
from lpd_jax.weights.checkpoint_layout import (
    AVERAGE,
    average_from_optimizer,
    average_to_optimizer,
    averages_in_optimizer,
    from_saved,
    params_path,
    to_saved,
)
from lpd_jax.weights.checkpoint_layout import (
    CHECKPOINTS_FOLDER as CHECKPOINTS_FOLDER,  # its home until there was one
)

REASON_LENGTH = 120  # characters: several checkpoints may be damaged, and one line names them all

# Shown by launch scripts, which silence the warnings of libraries.
log_damage = logging.error


class Checkpoints:
    """Checkpoints of one run: state, data position and config, saved together or not at all.

    Args:
        folder: local, or of a bucket.
        keep: how many of the newest stay.
        keep_every: those of every so many steps stay for good; 0 is none.
        read_only: neither makes the folder nor changes anything in it.
        items: what is read: of "state", "data" and "config"; none is all.
    """

    def __init__(
        self,
        folder: str | PathLike,
        keep: int = 2,
        keep_every: int = 0,
        read_only: bool = False,
        items: Sequence[str] = (),
    ):
        self.folder, self.keep, self.keep_every = absolute(folder), keep, keep_every
        self.copies = Copies(self.folder, max(keep, 2), items) if is_copied(folder) else None
        if self.copies is not None:
            self.folder = absolute(self.copies.local)
        options = ocp.CheckpointManagerOptions(
            create=not read_only,
            read_only=read_only,
            max_to_keep=None if read_only else keep,
            keep_period=None if read_only else keep_every or None,
            save_interval_steps=0 if read_only else 1,
            # Those who write to a folder wait twenty minutes for a thread that could not make it.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        # Said here, an item's metadata can be read before the item.
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        self.saving: int | None = None  # the step whose files are still written
        self.needed = 0  # bytes of a checkpoint, once somebody has said
        self.stack = contextlib.ExitStack()
        if self.copies is not None:
            self.stack.callback(self.copies.close)
        if not read_only and jax.process_index() == 0:
            remove_unfinished(self.folder)  # of a run that was killed
        making = writing("the folder of checkpoints", self.folder)
        with contextlib.nullcontext() if read_only else making:
            self.manager = ocp.CheckpointManager(
                self.folder, options=options, item_handlers=handlers
            )
        if not read_only:
            self.place = Place(self.folder)
            self.stack.enter_context(quiet_threads())

    def save(self, step: int, state: Any, data_position: dict, config: dict) -> None:
        """Starts saving; returns once the arrays are copied, while files are still written.

        Raises:
            DiskError: this checkpoint, or the one before, cannot be written. Nothing is left of it.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(to_saved(state)),
            data=ocp.args.JsonSave(data_position),
            config=ocp.args.JsonSave(config),
        )
        self.wait()
        what = f"the checkpoint of step {step}"
        self.place.check(what)
        self.needed = checkpoint_bytes(state)
        passing = [step for step in self.manager.all_steps() if not self.stays_for_good(step)]
        replaced = sorted(passing)[: -max(self.keep - 1, 1)]  # never the newest
        make_room(self.folder, what, self.needed, replaced, self.manager.delete)
        with whole_or_not_there(self.folder, step), interrupts_wait():
            self.manager.save(step, args=items, force=True)
            self.saving = step
        if self.copies is not None:
            self.wait()

    def stays_for_good(self, step: int) -> bool:
        return self.keep_every > 0 and step % self.keep_every == 0

    def has_room(self) -> bool:
        """Whether another checkpoint would fit now."""
        free = free_bytes(self.folder)
        return free is None or free >= self.needed

    def next_fits(self) -> bool:
        """Whether another fits after the one that is being written; waits for it."""
        self.wait()
        return self.has_room()

    def check(self) -> None:
        """Raises DiskError where the checkpoint that was being written could not be; waits not."""
        if self.saving is not None and not saving_threads():
            self.wait()

    def wait(self) -> None:
        """Waits for files still being written. Raises DiskError where they cannot be."""
        if self.saving is None:
            return
        step, self.saving = self.saving, None
        with whole_or_not_there(self.folder, step), interrupts_wait():
            self.manager.wait_until_finished()
        if self.copies is not None:
            self.copies.push()

    def latest_step(self) -> int | None:
        return self.manager.latest_step()

    def restore(
        self, abstract_state: Any, warn: Callable[[str], None] = log_damage
    ) -> tuple[Any, dict]:
        """The newest state that can be read, and its data position.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` with the shardings wanted now; those
                of the run that saved do not matter.
            warn: told of each newer checkpoint that cannot be read; it is renamed, never deleted.

        Raises:
            UserError: there is none that can be read.
        """
        step, (state, position) = self.newest_readable(
            functools.partial(self.read_state, like=abstract_state), warn
        )
        for newer in self.newer_than(step):
            self.set_aside(newer)
        return state, position

    def read_state(self, step: int, like: Any) -> tuple[Any, dict]:
        """State and data position of one checkpoint, of today's layout or of that before."""
        wanted = to_saved(like)
        is_old = AVERAGE in wanted and averages_in_optimizer(self.saved_tree(step))
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(average_to_optimizer(wanted) if is_old else wanted),
            data=ocp.args.JsonRestore(),
        )
        restored = self.manager.restore(step, args=items)
        saved = average_from_optimizer(restored.state) if is_old else restored.state
        return from_saved(saved, like), restored.data

    def read_params(self, step: int) -> tuple[dict, dict]:
        """Parameters, or their average, of one checkpoint on one device, and its config."""
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        saved = self.saved_tree(step)
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
        path = self.folder / str(step) / "state"
        restored = ocp.PyTreeCheckpointer().restore(path, arguments)
        return descend(restored, parents)[name], self.read_config(step)

    def read_config(self, step: int) -> dict:
        """The config that one checkpoint was saved with."""
        items = ocp.args.Composite(config=ocp.args.JsonRestore())
        return self.manager.restore(step, args=items).config

    def saved_tree(self, step: int) -> dict:
        """What one checkpoint holds: shapes and dtypes in place of arrays."""
        return dict(self.manager.item_metadata(step).state)

    @tasks_end_before_errors()
    def newest_readable(
        self, read: Callable[[int], Any], warn: Callable[[str], None]
    ) -> tuple[int, Any]:
        """The newest step at which `read(step)` succeeds, and what it returns.

        Args:
            read: raises anything for a checkpoint that is damaged.
            warn: told of each that is.

        Raises:
            UserError: there is none, or none that can be read.
        """
        problems: list[str] = []
        last_error = None
        for step in self.newer_than(-1):
            try:
                return step, read(step)
            # Whatever a damaged file makes its reader raise.
            except Exception as error:  # noqa: BLE001
                first_line = next(iter(str(error).splitlines()), "")
                reason = cut(first_line or type(error).__name__, REASON_LENGTH)
                problems.append(f"checkpoint {self.folder / str(step)}: cannot be read: {reason}")
                warn(problems[-1] + "; taking the one before")
                last_error = error
        message = (
            "; ".join(problems)
            or f"checkpoint folder: got {shown_path(self.folder)}, which holds no checkpoint"
        )
        raise UserError(message) from last_error

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
        if self.copies is not None:
            self.copies.push()

    def close(self) -> None:
        """Waits for files still being written. Raises DiskError where they cannot be."""
        with self.stack:
            try:
                self.wait()
            finally:
                with contextlib.suppress(Exception):  # what failed was raised already
                    self.manager.close()


def descend(tree: Any, keys: Iterable[Any]) -> Any:
    return functools.reduce(operator.getitem, keys, tree)
