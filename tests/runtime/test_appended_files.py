"""Pieces are added whole, or not at all."""

import errno
import os

import pytest

from lpd_jax.runtime import appended_files
from lpd_jax.runtime.appended_files import AppendedFile
from lpd_jax.runtime.disk_faults import DiskError


def test_a_piece_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    file = AppendedFile(tmp_path / "log", "the log")
    file.add(b"first\n")
    original = os.write

    def full(number, data):
        if len(data) > 3:
            return original(number, data[:3])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(appended_files.os, "write", full)
    with pytest.raises(DiskError, match=r"log: the log could not be written \(No space left"):
        file.add(b"second")
    monkeypatch.undo()
    file.add(b"third\n")
    file.close()
    file.close()
    assert (tmp_path / "log").read_bytes() == b"first\nthird\n"


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(DiskError, match="the log could not be written"):
        AppendedFile(tmp_path / "gone" / "log", "the log")
