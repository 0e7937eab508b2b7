"""Signals stop by exceptions, and wait where they have to."""

import os
import signal

import pytest

from lpd_jax.runtime.interrupts import Terminated, interrupts_wait, sigterm_interrupts


def send(number):
    os.kill(os.getpid(), number)


def test_sigterm_is_an_interrupt_inside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), sigterm_interrupts():
        send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_that_somebody_awaits_is_left_alone():
    got = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append("told"))
    try:
        with sigterm_interrupts():
            send(signal.SIGTERM)
        assert got == ["told"]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("number", "stop"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_waits_and_the_second_does_not(number, stop):
    done = []
    with sigterm_interrupts():
        with pytest.raises(stop), interrupts_wait():
            send(number)
            done.append("the rest")
        with pytest.raises(stop), interrupts_wait():
            send(number)
            send(number)
            done.append("never")
    assert done == ["the rest"]


def test_an_error_goes_before_a_signal_that_waits():
    with pytest.raises(ZeroDivisionError), interrupts_wait():
        send(signal.SIGINT)
        raise ZeroDivisionError
