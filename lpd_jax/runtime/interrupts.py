"""Ctrl-C and SIGTERM: both stop a program by one exception, and wait where a stop would do harm."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jax


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what a cluster sends before it takes a machine away."""


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` in the main thread, as Ctrl-C does KeyboardInterrupt.

    Where somebody else awaits the signal, JAX's service of several processes among them, nothing
    changes.
    """
    awaited = signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    if awaited or not in_main_thread() or jax.distributed.is_initialized():
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Inside, the first Ctrl-C or SIGTERM waits for the end. A second one does not: who sends it

    has no patience left.
    """
    awaited: dict[int, Callable[[int, FrameType | None], Any]] = {}
    if in_main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
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


def in_main_thread() -> bool:
    """Whether Python delivers signals to this thread."""
    return threading.current_thread() is threading.main_thread()
