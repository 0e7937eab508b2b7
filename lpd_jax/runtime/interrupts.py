"""Ctrl-C, SIGTERM and SIGHUP stop a program by one exception, and wait where that would do harm."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jax

# What a cluster sends before it takes a machine away, and what comes as a terminal is closed.
TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
STOPPING = (signal.SIGINT, *TERMINATING)
AGAIN_SECONDS = 0.05  # by then Python has left the place where an interrupt was lost


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came."""

    def __init__(self, message: str = "", number: int = signal.SIGTERM):
        super().__init__(*filter(None, [message]))
        self.number = signal.Signals(number)


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number=number)


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` in the main thread, as Ctrl-C does KeyboardInterrupt.

    So does SIGHUP. Where somebody else awaits or ignores a signal, JAX's service of several
    processes and `nohup` among them, nothing changes.
    """
    if not in_main_thread() or jax.distributed.is_initialized():
        yield
        return
    ours = [number for number in TERMINATING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Inside, the first Ctrl-C, SIGTERM or SIGHUP waits for the end.

    A second one does not: who sends it has no patience left.
    """
    awaited: dict[int, Callable[[int, FrameType | None], Any]] = {}
    if in_main_thread():
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        awaited = {number: act for number, act in handlers.items() if callable(act)}
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            awaited[number](number, frame)

    for number in awaited:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, act in awaited.items():
            signal.signal(number, act)
    if came:
        awaited[came[0]](came[0], None)


def send_lost_again() -> None:
    """From now on, a signal whose exception Python could only print comes once more.

    Callbacks of the garbage collector, of which JAX has one, and `__del__` cannot raise: a Ctrl-C
    that arrived in them was a traceback, and the program went on.
    """
    show = sys.unraisablehook

    def send_again(lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt) or not hasattr(signal, "pthread_kill"):
            show(lost)
            return
        number = getattr(lost.exc_value, "number", signal.SIGINT)
        main = threading.main_thread().ident
        timer = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, number))
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread starts as Python ends
            timer.start()

    sys.unraisablehook = send_again


def in_main_thread() -> bool:
    """Whether Python delivers signals to this thread."""
    return threading.current_thread() is threading.main_thread()
