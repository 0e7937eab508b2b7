"""A window of steps recorded by the JAX profiler, for TensorBoard or Perfetto."""

import dataclasses
import pathlib

import jax

PROFILE_FOLDER = "profile"


@dataclasses.dataclass(frozen=True)
class ProfileWindow:
    """Steps `first_step` to `first_step + num_steps - 1`; no steps, no profile."""

    first_step: int = 0
    num_steps: int = 0

    def __post_init__(self):
        if self.num_steps < 0 or (self.num_steps and self.first_step < 1):
            raise ValueError(
                f"profile: got first step {self.first_step}, {self.num_steps} steps, allowed are a "
                "first step of at least 1 and 0 (none) or more steps"
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
