"""One writer of a folder at a time."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from lpd_jax.runtime import locks
from lpd_jax.runtime.locks import in_turn, writing_to
from tests import tiny

HOLDER = (
    "import pathlib, sys, time\n"
    "from lpd_jax.runtime.locks import writing_to\n"
    "with writing_to('output', pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    with writing_to("output", tmp_path):
        words = rf"^output: got '{tmp_path}', which process {os.getpid()} of .* writes to; allowed"
        with pytest.raises(ValueError, match=words), writing_to("output", tmp_path):
            pass
    with writing_to("output", tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_ends_with_an_error_and_leaves_no_folder_of_its_own(tmp_path):
    with pytest.raises(ZeroDivisionError), writing_to("output", tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with writing_to("output", tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_a_lock_dies_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(tiny.REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(ValueError, match=f"which process {holder.pid} of .* writes to"),
                writing_to("output", tmp_path),
            ):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
    with writing_to("output", tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    words = r"^output: got '.*file/new', which cannot be written to \(Not a directory\)"
    with pytest.raises(ValueError, match=words), writing_to("output", tmp_path / "file" / "new"):
        pass


def test_processes_take_turns(tmp_path):
    """Who waits outside reads what the holder wrote before it left."""
    waiter = (
        "import pathlib, sys\n"
        "from lpd_jax.runtime.locks import in_turn\n"
        "print('waits', flush=True)\n"
        "with in_turn(pathlib.Path(sys.argv[1]) / 'lock'):\n"
        "    print((pathlib.Path(sys.argv[1]) / 'work').exists())\n"
    )
    with in_turn(tmp_path / "lock"):
        process = subprocess.Popen(
            [sys.executable, "-c", waiter, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        (tmp_path / "work").touch()
    assert process.communicate(timeout=60)[0] == "True\n"


def test_where_there_are_no_locks_nobody_waits(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with in_turn(tmp_path / "cache" / "lock"):
        pass
    monkeypatch.setattr(locks, "fcntl", None)
    with in_turn(tmp_path / "cache" / "lock"):
        pass
