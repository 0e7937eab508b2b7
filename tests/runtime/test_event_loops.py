"""Event loops: what was begun beside a failure ends before the failure is told."""

import asyncio

import pytest

from lpd_jax.runtime.event_loops import TasksEndFirstLoop, tasks_end_before_errors


def run(coroutine):
    """As a library does that brings its own loop."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def test_others_end_before_the_error_is_raised():
    ended = []

    async def read(name):
        await asyncio.sleep(0.01)
        ended.append(name)

    async def read_then_begin_another():
        await read("first")
        asyncio.create_task(read("second"))

    async def fail():
        raise ValueError("damaged")

    async def restore():
        await asyncio.gather(read_then_begin_another(), fail())

    with tasks_end_before_errors(), pytest.raises(ValueError, match="^damaged$"):
        run(restore())
    assert ended == ["first", "second"]


def test_an_interrupt_waits_for_nobody():
    loop = TasksEndFirstLoop()
    other = loop.create_task(asyncio.sleep(0.01))

    async def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(interrupted())
    assert not other.done()
    loop.run_until_complete(other)
    loop.close()


def test_results_come_back_and_later_loops_are_the_usual_ones():
    policy = asyncio.get_event_loop_policy()
    with tasks_end_before_errors():
        assert run(asyncio.sleep(0, "result")) == "result"
    assert asyncio.get_event_loop_policy() is policy
    with pytest.raises(ValueError, match="^damaged$"), tasks_end_before_errors():
        raise ValueError("damaged")
    assert asyncio.get_event_loop_policy() is policy
