"""Event loops on which all tasks end before the error of one is raised.

Orbax reads all arrays of a checkpoint at once, on an event loop of its own that it closes at the
first array that cannot be read. The reads beside it go on, hold their memory, and each that ends
prints `RuntimeError: Event loop is closed` from a thread where nobody can catch it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any


class TasksEndFirstLoop(asyncio.SelectorEventLoop):
    """Where the task that it runs fails, the others end before the error is raised."""

    def run_until_complete(self, future: Any) -> Any:
        try:
            return super().run_until_complete(future)
        # Not `BaseException`: an interrupt waits for nobody.
        except Exception:
            # Not cancelled: TensorStore may call back for a read after it was.
            while others := asyncio.all_tasks(self):
                super().run_until_complete(asyncio.gather(*others, return_exceptions=True))
            raise


class TasksEndFirstPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes every new event loop a `TasksEndFirstLoop`."""

    def new_event_loop(self) -> TasksEndFirstLoop:
        return TasksEndFirstLoop()


@contextlib.contextmanager
def tasks_end_before_errors() -> Iterator[None]:
    """Inside, all new event loops of the process are a `TasksEndFirstLoop`; also a decorator.

    Policies are the only way to the loops that a library makes; Python 3.14 deprecates them.
    """
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(TasksEndFirstPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
