"""SIGTERM saves and ends a run of one process; two processes are in test_cluster."""

import os
import signal

from lpd_jax.training import loop as train_module
from lpd_jax.training.preemption import Preemption
from lpd_jax.weights.saved_runs import newest_step
from tests.training import toy


def test_sigterm_is_a_request_while_it_is_awaited():
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert not preemption.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested(2)
    assert signal.getsignal(signal.SIGTERM) == before


def test_sighup_is_one_too_but_not_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert preemption.requested(1) and preemption.name == "SIGHUP"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not preemption.requested(1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_saves_and_leaves_and_goes_on(tmp_path, monkeypatch, capfd):
    toy.install(monkeypatch)
    whole = train_module.train(toy.MODEL, toy.config(6), tmp_path / "whole")
    config = toy.config(6)
    original = train_module.to_devices
    batches = []

    def to_devices(*arguments):
        batches.append(0)
        if len(batches) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(train_module, "to_devices", to_devices)
    state = train_module.train(toy.MODEL, config, tmp_path / "left")
    assert int(state.step) == newest_step(tmp_path / "left" / "checkpoints") == 3
    assert "step 3: saved, and stopped by SIGTERM" in capfd.readouterr().out
    resumed = train_module.train(toy.MODEL, config, tmp_path / "left")
    assert int(resumed.step) == 6
    for name, leaf in whole.params["head"].items():
        assert (leaf == resumed.params["head"][name]).all()
