"""kill -9 at any moment loses at most the steps since the last save, and changes nothing."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests import tiny

WORKER = pathlib.Path(__file__).with_name("kill_worker.py")
SAVE_EVERY = 5


class Worker:
    """The process that starts training runs."""

    def __init__(self, log: pathlib.Path, num_steps: int, *options: str):
        environment = {**os.environ, "PYTHONPATH": str(tiny.REPOSITORY), "JAX_PLATFORMS": "cpu"}
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, WORKER, str(num_steps), *options],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def start(self, workdir: pathlib.Path) -> int:
        """The process id of the run."""
        self.process.stdin.write(f"{workdir}\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> int:
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Run:
    """One training run, started as often as it takes."""

    def __init__(self, worker: Worker, workdir: pathlib.Path):
        self.worker, self.workdir = worker, workdir

    def start(self) -> int:
        return self.worker.start(self.workdir)

    def wait(self) -> int:
        """The exit status."""
        return self.worker.answer()

    def losses(self, name: str = "loss") -> list[tuple[int, float]]:
        file = self.workdir / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return [(line["step"], line[name]) for line in whole if line["kind"] == "train"]

    def saved(self) -> int:
        folder = self.workdir / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((int(name) for name in names if name.isdecimal()), default=0)


@pytest.mark.parametrize(
    ("num_kills", "num_steps"), [(3, 60), pytest.param(20, 400, marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_again_and_again_is_the_unbroken_run(tmp_path, num_kills, num_steps):
    with contextlib.closing(Worker(tmp_path / "errors.log", num_steps)) as worker:
        unbroken, broken = (Run(worker, tmp_path / name) for name in ("unbroken", "broken"))
        compare(unbroken, broken, num_kills, num_steps)


@pytest.mark.slow
def test_a_run_against_a_discriminator_that_is_killed_is_the_unbroken_run(tmp_path):
    """The discriminator counts from step 3 on: kills fall before it and after."""
    with contextlib.closing(Worker(tmp_path / "errors.log", 60, "adversarial")) as worker:
        unbroken, broken = (Run(worker, tmp_path / name) for name in ("unbroken", "broken"))
        compare(unbroken, broken, num_kills=4, num_steps=60)
        for run in (unbroken, broken):
            assert run.losses("discriminator_loss")[0] == (1, 0.0)
        theirs, ours = (run.losses("discriminator_loss") for run in (unbroken, broken))
        assert theirs == ours and len({loss for _, loss in theirs}) > 50


def compare(unbroken: Run, broken: Run, num_kills: int, num_steps: int) -> None:
    unbroken.start()
    assert unbroken.wait() == 0
    chance = random.Random(181)  # the fast case has a kill in the set-up among its three
    kills = 0
    while kills < num_kills:
        before = broken.saved()
        child = broken.start()
        # From within the set-up to well into the steps, saves among them.
        steps = chance.choice([0, 0, 1, 5, 10, 15, 20])
        begun = len(broken.losses()) if steps else 0
        while steps and len(broken.losses()) < begun + steps:
            time.sleep(0.01)
            if broken.losses() and broken.losses()[-1][0] == num_steps:
                break
        time.sleep(chance.uniform(0, 0.1 if steps else 2))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = broken.wait()
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        assert broken.saved() >= before
        done = broken.losses()[-1][0] if broken.losses() else 0
        assert broken.saved() > done - 2 * SAVE_EVERY - 2  # one save may have been on its way
        if broken.saved() == num_steps:
            break
    assert kills == num_kills
    broken.start()
    assert broken.wait() == 0
    assert broken.losses() == unbroken.losses()
    assert [step for step, _ in unbroken.losses()] == list(range(1, num_steps + 1))
