"""Two real processes with four devices each train what one process with eight does."""

import json
import pathlib
import socket
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from tests import tiny

pytestmark = pytest.mark.slow
WORKER = pathlib.Path(__file__).with_name("cluster_worker.py")


def start(
    workdir: pathlib.Path,
    num_steps: int,
    num_processes: int,
    judged_every: int = 0,
    preempted: int | None = None,
    adversarial: bool = False,
) -> list[subprocess.Popen]:
    """The processes of a run, of which one may be told to leave."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = tiny.process_environment(workdir.parent / "compiled")
    # The many small programs of the set-up together take as long as the large ones.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    devices = 8 // num_processes
    return [
        subprocess.Popen(
            [sys.executable, WORKER, workdir]
            + [str(x) for x in (num_steps, judged_every, i, num_processes, port, devices)]
            + ["preempted"] * (i == preempted)
            + ["adversarial"] * adversarial,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(num_processes)
    ]


def finish(processes: list[subprocess.Popen]) -> list[str]:
    """Their outputs, once all have ended well."""
    outputs = [process.communicate(timeout=280)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def metrics(workdir: pathlib.Path, kind: str, name: str = "loss") -> dict[int, float]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if line["kind"] == kind and name in line}


class Together(NamedTuple):
    """A run of two processes that one of them had to leave, gone on with to the end."""

    workdir: pathlib.Path
    output: str  # of the first process
    saved: list[int]  # steps of its checkpoints
    left_after: int  # last step before it was left
    judged: int  # last step of two processes; one goes on to the next


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes of four devices; the second gets a SIGTERM; again two; then one of eight."""
    workdir = tmp_path_factory.getbasetemp() / "cluster" / "together"
    output = finish(start(workdir, 100_000, num_processes=2, preempted=1))[0]
    left_after = list(metrics(workdir, "train"))[-1]
    saved = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
    judged = left_after + 2
    for count, last in ((2, judged), (1, judged + 1)):
        outputs = finish(start(workdir, last, num_processes=count, judged_every=judged))
        assert all(f"step {last} of {count} processes" in output for output in outputs)
    return Together(workdir, output, saved, left_after, judged)


@pytest.fixture(scope="module")
def alone(together):
    """As many steps at once, of one process on eight devices."""
    workdir = together.workdir.with_name("alone")
    finish(start(workdir, together.judged + 1, num_processes=1, judged_every=together.judged))
    return workdir


def test_sigterm_to_one_process_saves_and_ends_all(together):
    assert "saved, and stopped by SIGTERM" in together.output
    assert together.saved == [together.left_after]


def test_two_processes_that_resume_and_one_that_goes_on_train_as_one_does(alone, together):
    last = together.judged + 1
    # The one that has to leave only saves after its last step.
    validated = {*range(2, last, 2), last} - {together.left_after}
    for kind, steps in (("train", set(range(1, last + 1))), ("validation", validated)):
        want, got = metrics(alone, kind), metrics(together.workdir, kind)
        assert want.keys() & got.keys() == steps
        for step in steps:
            np.testing.assert_allclose(got[step], want[step], rtol=1e-5, err_msg=f"{kind} {step}")


def test_two_processes_draw_and_judge_as_one_does(alone, together):
    want, got = (metrics(workdir, "validation", "fid") for workdir in (alone, together.workdir))
    assert together.judged in got
    for step, distance in want.items():
        np.testing.assert_allclose(got[step], distance, rtol=1e-5)
    for step in (together.judged, together.judged + 1):
        picture = f"samples/step_{step:07d}.png"
        assert (alone / picture).read_bytes() == (together.workdir / picture).read_bytes()


def test_two_processes_train_against_a_discriminator_as_one_does(tmp_path):
    """Batch statistics are of the whole batch; a resumed run goes on with the discriminator's."""
    for last in (4, 6):
        finish(start(tmp_path / "together", last, num_processes=2, adversarial=True))
    finish(start(tmp_path / "alone", 6, num_processes=1, adversarial=True))
    for name in ("loss", "grad_norm", "discriminator_loss", "discriminator_grad_norm"):
        want, got = (metrics(tmp_path / run, "train", name) for run in ("alone", "together"))
        assert list(got) == list(want) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=2e-5, atol=1e-6)
    assert want[6] > 0
