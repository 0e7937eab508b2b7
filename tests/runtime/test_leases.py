"""One writer of a bucket's folder at a time."""

import json
import time

import pytest
from etils import epath

from lpd_jax.runtime import leases
from lpd_jax.runtime.leases import LEASE_FILE, leasing
from tests.buckets import folder_buckets


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.5)
    with folder_buckets(tmp_path):
        yield epath.Path("gs://bucket/run")


def leave(folder, **lease):
    """What a process that was killed leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    lease = {"holder": "process 7 of host", "key": "k", "renewed": time.time()} | lease
    (folder / LEASE_FILE).write_text(json.dumps(lease))


def test_a_second_writer_is_refused_until_the_first_is_done(folder):
    with leasing("workdir", folder):
        words = (
            r"^workdir: got 'gs://bucket/run', which process \d+ of .* writes to; allowed is one"
        )
        with pytest.raises(ValueError, match=words), leasing("workdir", folder):
            pass
        assert (folder / LEASE_FILE).exists()
    assert not (folder / LEASE_FILE).exists()
    with leasing("workdir", folder):
        pass


def test_what_a_killed_writer_left_is_watched_and_taken(folder, caplog):
    leave(folder)
    with leasing("workdir", folder) as lease:
        assert json.loads((folder / LEASE_FILE).read_text())["key"] == lease.key
    assert "process 7 of host has written to gs://bucket/run; watching" in caplog.text


def test_an_old_or_half_written_lease_is_taken_at_once(folder, monkeypatch):
    monkeypatch.setattr(leases, "WATCH_SECONDS", 1e9)
    leave(folder, renewed=time.time() - 1000)
    with leasing("workdir", folder):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LEASE_FILE).write_text('{"holder": "pro')
    with leasing("workdir", folder):
        pass


@pytest.mark.parametrize("end, want", [('cess 7"}', "process 7"), ("", "another process")])
def test_a_lease_that_is_being_written_is_read_again(tmp_path, monkeypatch, end, want):
    file = epath.Path(tmp_path / LEASE_FILE)
    file.write_text('{"holder": "pro')
    monkeypatch.setattr(time, "sleep", lambda _: file.write_text('{"holder": "pro' + end))
    assert leases.read_lease(file) == {"holder": want}


def test_a_holder_learns_that_its_folder_was_taken_over_and_leaves_it_alone(folder):
    with leasing("workdir", folder) as lease:
        lease.check()
        leave(folder)
        lease.thread.join()
        with pytest.raises(ValueError, match="which process 7 of host has taken over"):
            lease.check()
    assert (folder / LEASE_FILE).exists()
