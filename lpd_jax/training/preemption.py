"""SIGTERM as a request to save and leave: what clusters send before they take a machine away."""

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preemption:
    """While entered, SIGTERM no longer ends the process: `requested` tells of it.

    With several processes JAX's own service catches the signal on any of them, and has all of them
    stop after one and the same step.
    """

    def __init__(self) -> None:
        self.signalled = False
        self.previous: Any = None
        # Python delivers signals to the main thread only.
        self.catches = not jax.distributed.is_initialized() and (
            threading.current_thread() is threading.main_thread()
        )

    def requested(self, step: int) -> bool:
        """Whether to save after `step` and leave; ask it after every step."""
        return self.signalled or bool(multihost_utils.reached_preemption_sync_point(step))

    def catch(self, *_: Any) -> None:
        self.signalled = True

    def __enter__(self) -> "Preemption":
        if self.catches:
            self.previous = signal.signal(signal.SIGTERM, self.catch)
        return self

    def __exit__(self, *error: Any) -> None:
        if self.catches:
            signal.signal(signal.SIGTERM, self.previous)
