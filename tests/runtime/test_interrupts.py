"""Signals stop by exceptions, and wait where they have to."""

import gc
import os
import signal
import sys
import time

import pytest

from lpd_jax.runtime.interrupts import (
    Terminated,
    interrupts_wait,
    send_lost_again,
    sigterm_interrupts,
)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_garbage_collector_swallows_comes_again(monkeypatch, number):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def swallow(phase, info):
        gc.callbacks.remove(swallow)
        send(number)

    def until_it_comes():
        gc.callbacks.append(swallow)
        gc.collect()  # where it is lost
        time.sleep(60)

    try:
        send_lost_again()
        with pytest.raises(KeyboardInterrupt) as stop, sigterm_interrupts():
            until_it_comes()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert getattr(stop.value, "number", signal.SIGINT) == number and not told
    gc.callbacks.append(broken := lambda phase, info: gc.callbacks.remove(broken) or 1 / 0)
    gc.collect()
    assert [x.exc_type for x in told] == [ZeroDivisionError]  # what is no signal is shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_are_interrupts_inside(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated) as stop, sigterm_interrupts():
            send(number)
        assert signal.getsignal(number) == signal.SIG_DFL and stop.value.number == number
    finally:
        signal.signal(number, before)


def test_sighup_stays_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sigterm_interrupts():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


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
