"""A window of steps recorded by the JAX profiler, for TensorBoard or Perfetto."""

import dataclasses
import pathlib

import jax

from lpd_jax.runtime.errors import UserError

PROFILE_FOLDER = "profile"


@dataclasses.dataclass(frozen=True)
class ProfileWindow:
    """Steps `first_step` to `first_step + num_steps - 1`; no steps, no profile."""

    first_step: int = 0
    num_steps: int = 0

    def __post_init__(self):
        if min(self.first_step, self.num_steps) < 0 or (self.first_step > 0) != (
            self.num_steps > 0
        ):
            raise UserError(
                f"profile_start, profile_steps: got {self.first_step} and {self.num_steps}, "
                "allowed are both from 1 on, or both 0 (no profile)"
            )

    def check_within(self, num_steps: int) -> None:
        """Raises UserError for a window that a run of so many steps never reaches."""
        if self.first_step > num_steps:
            raise UserError(
                f"profile_start: got {self.first_step}, allowed are the steps of the run, 1 to "
                f"{num_steps}"
            )

    def past(self, step: int, num_steps: int) -> str | None:
        """A line where a run that goes on after `step` does not come to the window any more.

        No error: a run that is stopped and started again has the same command each time.
        """
        if not 0 < self.first_step <= step:
            return None
        left = f"{step + 1} to {num_steps}" if step < num_steps else "none"
        return (
            f"profile_start: step {self.first_step} is past, and is not recorded now; steps to "
            f"come: {left}"
        )


NO_PROFILE = ProfileWindow()


class Profiler:
    """Told of each step, records those of its window into `workdir/profile`."""

    def __init__(self, window: ProfileWindow, workdir: pathlib.Path):
        self.window, self.folder, self.runs = window, workdir / PROFILE_FOLDER, False

    def before(self, step: int) -> None:
        """Call it before a step is dispatched."""
        if self.window.num_steps and step == self.window.first_step:
            jax.profiler.start_trace(self.folder)
            self.runs = True

    def after(self, step: int, outputs: object) -> None:
        """Call it after a step was dispatched; waits for its outputs at the end of the window."""
        if self.runs and step >= self.window.first_step + self.window.num_steps - 1:
            jax.block_until_ready(outputs)
            self.close()

    def close(self) -> None:
        if self.runs:
            jax.profiler.stop_trace()
        self.runs = False
