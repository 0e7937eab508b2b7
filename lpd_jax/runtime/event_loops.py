"""Event loops that end what they began before they pass an error on.

Orbax reads all arrays of a checkpoint at once, on an event loop of its own that it closes at the
first array that cannot be read. The reads beside it go on, hold their memory, and each that ends
prints `RuntimeError: Event loop is closed` from a thread where nobody can catch it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any


class SettlingLoop(asyncio.SelectorEventLoop):
    """Where its main task fails, the other tasks end before the error is raised."""

    def run_until_complete(self, future: Any) -> Any:
        try:
            return super().run_until_complete(future)
        # Not `BaseException`: an interrupt waits for nobody.
        except Exception:
            # Not cancelled: TensorStore may call back for a read after it was.
            while others := asyncio.all_tasks(self):
                super().run_until_complete(asyncio.gather(*others, return_exceptions=True))
            raise


class SettlingPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> SettlingLoop:
        return SettlingLoop()


@contextlib.contextmanager
def settling_loops() -> Iterator[None]:
    """New event loops of the process are settling ones inside; also a decorator.

    Policies are the only way to the loops that a library makes; Python 3.14 deprecates them.
    """
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(SettlingPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
