"""Counts what XLA compiles: how a test sees from outside that a program was there already."""

import contextlib
from collections.abc import Iterator

import jax.monitoring

EVENT = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def counted() -> Iterator[list[float]]:
    """Seconds of each program compiled meanwhile, the smallest helper included."""
    seen: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == EVENT:
            seen.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
