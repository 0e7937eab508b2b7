"""Two real processes with four devices each train what one process with eight does."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import tiny

pytestmark = pytest.mark.slow
WORKER = pathlib.Path(__file__).with_name("cluster_worker.py")


def start(workdir: pathlib.Path, num_steps: int, num_processes: int) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = tiny.process_environment(workdir.parent / "compiled")
    return [
        subprocess.Popen(
            [sys.executable, WORKER, workdir, *map(str, (num_steps, i, num_processes, port)),
             str(8 // num_processes)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(num_processes)
    ]  # fmt: skip


def finish(processes: list[subprocess.Popen]) -> list[str]:
    """Their outputs, once all have ended well."""
    outputs = [process.communicate(timeout=280)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def metrics(workdir: pathlib.Path, kind: str, name: str = "loss") -> dict[int, float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if line["kind"] == kind and name in line}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Four steps of one process on eight devices."""
    workdir = tmp_path_factory.getbasetemp() / "cluster" / "alone"
    finish(start(workdir, 4, num_processes=1))
    return workdir


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two steps of two processes on four devices each, and, resumed, two more."""
    workdir = tmp_path_factory.getbasetemp() / "cluster" / "together"
    finish(start(workdir, 2, num_processes=2))
    first = metrics(workdir, "train")
    outputs = finish(start(workdir, 4, num_processes=2))
    assert all("step 4 of 2 processes" in output for output in outputs)
    assert list(first) == [1, 2]
    return workdir


def test_two_processes_train_and_resume_as_one_does(alone, together):
    for kind, steps in (("train", [1, 2, 3, 4]), ("validation", [2, 4])):
        want, got = metrics(alone, kind), metrics(together, kind)
        assert list(got) == list(want) == steps
        for step, loss in want.items():
            np.testing.assert_allclose(got[step], loss, rtol=1e-5, err_msg=f"{kind} {step}")
    want, got = (metrics(workdir, "validation", "fid") for workdir in (alone, together))
    np.testing.assert_allclose(got[4], want[4], rtol=1e-5)
    picture = "samples/step_0000004.png"
    assert (alone / picture).read_bytes() == (together / picture).read_bytes()


def test_one_process_goes_on_from_the_checkpoint_of_two(alone, together):
    finish(start(together, 5, num_processes=1))
    finish(start(alone, 5, num_processes=1))
    want, got = metrics(alone, "train"), metrics(together, "train")
    assert list(got) == list(want) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(got[5], want[5], rtol=1e-5)


def test_sigterm_to_one_process_saves_and_ends_all(together):
    workdir = together.with_name("preempted")
    processes = start(workdir, 100_000, num_processes=2)
    file = workdir / "metrics.jsonl"
    while not file.exists() or file.read_text().count("\n") < 3:
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    outputs = finish(processes)
    assert "saved, and stopped by SIGTERM" in outputs[0]
    steps = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
    assert len(steps) == 1 and list(metrics(workdir, "train"))[-1] == steps[0]
