"""How a run that stops early says so: one line that ends with where the next start goes on."""

import contextlib
import os
from collections.abc import Iterator

from etils import epath

from lpd_jax.runtime.buckets import absolute
from lpd_jax.runtime.disk_faults import OF_WRITING, DiskError
from lpd_jax.runtime.interrupts import Terminated, sigterm_interrupts
from lpd_jax.runtime.memory_faults import full_memory
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER
from lpd_jax.weights.saved_runs import newest_step

# The same command, which computes the same, stops at the same step.
REMEDY = (
    "with a lower --config.optimizer.learning_rate or --config.optimizer.clip_norm, or with "
    "--config.compute.dtype=float32, it may get further"
)
# Less of a step is in memory at once; the update is that of the whole batch.
IN_PARTS = "takes less with a higher --config.compute.accumulate_steps, a divisor of the batch"


@contextlib.contextmanager
def naming_the_newest(workdir: str | os.PathLike) -> Iterator[None]:
    """Inside, whatever stops a run early is an error that names the newest checkpoint.

    A failing disk is a `DiskError`, Ctrl-C a `KeyboardInterrupt`, SIGTERM or SIGHUP `Terminated`.
    A full memory is `FullMemoryError`, and a loss that is no number a `FloatingPointError`: these
    tell what may be changed, too.
    """
    checkpoints = absolute(workdir) / CHECKPOINTS_FOLDER
    try:
        with sigterm_interrupts():
            yield
    except DiskError as error:
        gone = error.errno not in OF_WRITING
        ended = DiskError(f"{error}; {goes_on_from(checkpoints, gone)}")
        ended.errno = error.errno
        raise ended from error
    except FloatingPointError as error:
        text = f"{error}; {goes_on_from(checkpoints)}, and {REMEDY}"
        raise FloatingPointError(text) from None
    except (RuntimeError, MemoryError) as error:
        full = full_memory(error, less_memory(checkpoints))
        if full is None:
            raise
        raise full from error
    except Terminated as stop:
        text = f"stopped by {stop.number.name}; {goes_on_from(checkpoints)}"
        raise Terminated(text, stop.number) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {goes_on_from(checkpoints)}") from None


def less_memory(checkpoints: epath.Path) -> str:
    """What to change where the memory is full: batch and model of a run that has begun stay."""
    with contextlib.suppress(OSError):
        if newest_step(checkpoints) is None:
            return f"{goes_on_from(checkpoints)}, and {IN_PARTS} or a smaller --config.batch_size"
    return f"{goes_on_from(checkpoints)}, and {IN_PARTS}; its batch and model stay as they are"


def goes_on_from(checkpoints: epath.Path, may_be_gone: bool = False) -> str:
    """What starting again will do.

    Args:
        may_be_gone: the disk with what was saved may have gone away.
    """
    step = None
    with contextlib.suppress(OSError):
        step = newest_step(checkpoints)
    if step is not None:
        return f"the same command goes on from step {step}"
    if may_be_gone:
        return "the same command goes on from the newest checkpoint, once the disk is back"
    return "no checkpoint is there yet: the same command starts anew"
