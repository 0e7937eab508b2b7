"""A disk that fails at any moment costs one line, and the run goes on where its checkpoint is."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests import tiny
from tests.training.disk_worker import NUM_STEPS

WORKER = pathlib.Path(__file__).with_name("disk_worker.py")
SHIM = pathlib.Path(__file__).with_name("failing_disk.c")
SIZES = [300_000, 500_000, 700_000, 1_500_000, 2_500_000, 4_000_000]


class Runs:
    """A process that starts training runs, and what they left."""

    def __init__(self, folder: pathlib.Path, shim: pathlib.Path | None):
        self.folder = folder
        preload = {"LD_PRELOAD": str(shim)} if shim else {}
        with open(folder / "worker.log", "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, WORKER],
                env=tiny.process_environment(folder / "compiled") | preload,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.log = folder / "run.log"

    def start(self, workdir: pathlib.Path, **order) -> int:
        """The process id of a run."""
        order |= {"workdir": str(workdir), "log": str(self.log)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> int:
        return int(self.process.stdout.readline())

    def run(self, workdir: pathlib.Path, **order) -> int:
        """The exit code of a run."""
        self.start(workdir, **order)
        return self.answer()

    def lines(self) -> list[str]:
        """What the last run said, without its bar and what it says of itself."""
        text = self.log.read_text().replace("\r", "\n")
        told = [line.strip() for line in text.splitlines() if line.strip()]
        return [x for x in told if "image" not in x and "parameters" not in x and "valid" not in x]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that makes writes fail, before those of the system."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shim):
    with contextlib.closing(Runs(tmp_path_factory.mktemp("runs"), shim)) as runs:
        yield runs


@pytest.fixture(scope="module")
def unbroken(runs):
    """The losses of a run on a disk that never fails."""
    workdir = runs.folder / "unbroken"
    assert runs.run(workdir) == 0, runs.lines()
    return losses(workdir)


def losses(workdir: pathlib.Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


def newest(workdir: pathlib.Path) -> int:
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


def check_one_line(runs: Runs, workdir: pathlib.Path, reason: str) -> None:
    """Says what, why and where the next start goes on; nothing unfinished is left."""
    *warnings, line = runs.lines()
    assert all(warning.endswith("; training goes on without") for warning in warnings)
    assert line.startswith(f"train.py: {workdir}") and "could not be written (" in line
    assert reason in line and " free); " in line
    step = newest(workdir)
    start = f"the same command goes on from step {step}" if step else "no checkpoint is there yet"
    later = "the same command goes on from the newest checkpoint, once the disk is back"
    assert line.split("; ")[-1].startswith(start) or line.endswith(later)
    assert not list(workdir.rglob("*.orbax-checkpoint-tmp*"))
    assert not list(workdir.rglob(".*"))


# How many writes come before the first that fails: at the start, in a checkpoint, in the next.
@pytest.mark.parametrize(
    ("number", "after"),
    [
        (errno.EROFS, 180),
        *(
            pytest.param(number, after, marks=pytest.mark.slow)
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT)
            for after in (60, 120, 240, *range(20, 330, 45))
        ),
    ],
)
def test_every_fault_is_one_line_and_the_run_goes_on(runs, unbroken, number, after):
    workdir = runs.folder / f"fault_{number}_{after}"
    environment = {
        "FAULT_FOLDER": str(workdir),
        "FAULT_ERRNO": str(number),
        "FAULT_AFTER": str(after),
    }
    assert runs.run(workdir, environment=environment) == 1, runs.lines()
    check_one_line(runs, workdir, os.strerror(number))
    assert runs.run(workdir) == 0, runs.lines()
    assert losses(workdir) == unbroken


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size: int):
    """A tmpfs of so many bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("size", "left"),
    [
        (SIZES[2], 20_000),
        *(pytest.param(size, left, marks=pytest.mark.slow) for size in SIZES for left in (0, 9000)),
    ],
)
def test_a_disk_that_another_program_fills_is_one_line(runs, unbroken, tmp_path, size, left):
    with small_disk(tmp_path / "disk", size) as disk:
        fill = [str(disk / "filler"), 7, left]
        assert runs.run(disk / "run", fill=fill) == 1, runs.lines()
        assert newest(disk / "run") in (0, 5)  # that of 5 may still have been on its way
        check_one_line(runs, disk / "run", os.strerror(errno.ENOSPC))
        (disk / "filler").unlink()
        assert runs.run(disk / "run") == 0, runs.lines()
        assert losses(disk / "run") == unbroken


def test_two_checkpoints_have_to_fit_before_training(runs, tmp_path):
    with small_disk(tmp_path / "disk", 200_000) as disk:
        assert runs.run(disk / "run") == 1
        [line] = runs.lines()
        assert line.startswith(f"train.py: {disk}/run/checkpoints: two checkpoints could not be")
        assert " kB needed; " in line
        assert not list(disk.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_checkpoint_is_written_is_one_line(runs, unbroken, number):
    workdir = runs.folder / f"signal_{number}"
    child = runs.start(workdir)
    while not list((workdir / "checkpoints").glob("5*")):
        time.sleep(0.002)
    os.kill(child, number)
    code = runs.answer()
    [line] = runs.lines()
    step = newest(workdir)
    assert step >= 5
    if number == signal.SIGINT:
        assert code == 130
        assert line == f"train.py: stopped; the same command goes on from step {step}"
    else:
        assert code == 0
        assert line == f"step {step}: saved, and stopped by SIGTERM; run it again to go on"
    assert runs.run(workdir) == 0
    assert losses(workdir) == unbroken
    assert newest(workdir) == NUM_STEPS


def test_sigterm_before_the_steps_is_one_line(runs):
    workdir = runs.folder / "early"
    child = runs.start(workdir)
    while not (workdir / ".writer.lock").exists():
        time.sleep(0.002)
    os.kill(child, signal.SIGTERM)
    assert runs.answer() in (143, 0)
    [line] = runs.lines()
    assert "stopped by SIGTERM; " in line
