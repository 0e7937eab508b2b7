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
NUM_STEPS, SAVE_EVERY, NUM_KILLS = 400, 5, 20


class Runs:
    """The same training run, started as often as it takes."""

    def __init__(self, workdir: pathlib.Path):
        self.workdir = workdir
        environment = {**os.environ, "PYTHONPATH": str(tiny.REPOSITORY), "JAX_PLATFORMS": "cpu"}
        with open(workdir.with_suffix(".log"), "w") as log:
            self.server = subprocess.Popen(
                [sys.executable, WORKER, workdir, str(NUM_STEPS)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self) -> int:
        self.server.stdin.write("\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> int:
        return int(self.server.stdout.readline())

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(60)
        self.server.stdout.close()

    def losses(self) -> list[tuple[int, float]]:
        file = self.workdir / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return [(line["step"], line["loss"]) for line in whole if line["kind"] == "train"]

    def saved(self) -> int:
        folder = self.workdir / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return max((int(name) for name in names if name.isdecimal()), default=0)


@pytest.fixture
def runs(tmp_path):
    started = []

    def make(name: str) -> Runs:
        (tmp_path / name).mkdir()
        started.append(Runs(tmp_path / name))
        return started[-1]

    yield make
    for one in started:
        one.close()


@pytest.mark.slow
def test_killed_twenty_times_a_run_is_the_unbroken_run(runs):
    unbroken, broken = runs("unbroken"), runs("broken")
    unbroken.start()
    assert unbroken.wait() == 0
    chance = random.Random(0)
    kills = 0
    while kills < NUM_KILLS:
        before = broken.saved()
        child = broken.start()
        # From within the set-up to well into the steps, saves among them.
        steps = chance.choice([0, 0, 1, 5, 10, 15, 20])
        begun = len(broken.losses()) if steps else 0
        while steps and len(broken.losses()) < begun + steps:
            time.sleep(0.01)
            if broken.losses() and broken.losses()[-1][0] == NUM_STEPS:
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
        if broken.saved() == NUM_STEPS:
            break
    assert kills == NUM_KILLS
    broken.start()
    assert broken.wait() == 0
    assert broken.losses() == unbroken.losses()
    assert [step for step, _ in unbroken.losses()] == list(range(1, NUM_STEPS + 1))
