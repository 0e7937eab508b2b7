"""SIGTERM and SIGHUP as requests to save and leave.

Clusters send the first before they take a machine away, the second comes as a terminal is closed.
"""

import signal
from typing import Any

import jax
from jax.experimental import multihost_utils

from lpd_jax.runtime.interrupts import TERMINATING, in_main_thread


class Preemption:
    """While entered, neither signal ends the process: `requested` tells of it.

    With several processes JAX's own service catches SIGTERM on any of them, and has all of them
    stop after one and the same step. SIGHUP stays ignored under `nohup`.
    """

    def __init__(self) -> None:
        self.signalled = False
        self.name = "SIGTERM"  # of the signal that came
        self.previous: dict[int, Any] = {}
        # Python delivers signals to the main thread only.
        self.catches = not jax.distributed.is_initialized() and in_main_thread()

    def requested(self, step: int) -> bool:
        """Whether to save after `step` and leave; ask it after every step."""
        return self.signalled or bool(multihost_utils.reached_preemption_sync_point(step))

    def catch(self, number: int, frame: Any) -> None:
        del frame
        self.signalled, self.name = True, signal.Signals(number).name

    def __enter__(self) -> "Preemption":
        for number in TERMINATING if self.catches else ():
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                self.previous[number] = signal.signal(number, self.catch)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
