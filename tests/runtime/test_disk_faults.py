"""Errors of full, read-only and vanished disks, whoever raises them, are one line."""

import errno
import os

import pytest

from lpd_jax.runtime.atomic_files import replacing_directory, replacing_file
from lpd_jax.runtime.disk_faults import DiskError, free_bytes, readable_size, writing
from lpd_jax.runtime.errors import UserError

TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing local file "{}/d/6f": Failed to write 9 bytes to file 12: '
    "No space left on device [os_error_code='28'] [source locations='a.cc:1']"
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x"), "No space left on device"),
        (OSError(errno.EDQUOT, "x"), "Disk quota exceeded"),
        (OSError(errno.EROFS, "x", "/elsewhere"), "Read-only file system"),
        (OSError(errno.EFBIG, "x"), "File too large"),
        (OSError(errno.EIO, "x"), "Input/output error"),
        (FileNotFoundError(errno.ENOENT, "x", "{}/file"), "No such file or directory"),
        (ValueError(TENSORSTORE), "No space left on device"),
        (RuntimeError("I/O error: Input/output error (os error 5)"), "Input/output error"),
        (RuntimeError("write() failed: Disk quota exceeded; at byte 5"), "Disk quota exceeded"),
    ],
)
def test_a_fault_is_one_line_with_path_and_free_room(tmp_path, error, reason):
    if isinstance(error, OSError) and error.filename:
        error.filename = error.filename.format(tmp_path)
    elif not isinstance(error, OSError):
        error.args = (error.args[0].replace("{}", str(tmp_path)),)
    with pytest.raises(DiskError) as caught, writing("the picture", tmp_path / "file"):
        raise error
    line = str(caught.value)
    start = f"{tmp_path}/file: the picture could not be written ({reason}; "
    assert line.startswith(start) and line.endswith(" free)") and "\n" not in line
    assert os.strerror(caught.value.errno) == reason


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "x", "/elsewhere/source.png"),
        OSError(errno.ENOTDIR, "x"),
        ValueError("shapes differ"),
        RuntimeError('cannot open "/elsewhere/a": No such file or directory'),
        UserError("input: got 'a', allowed are files; No space left on device"),
    ],
)
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, writing("the picture", tmp_path / "file"):
        raise error
    assert caught.value is error


def test_free_room_is_that_of_the_folder_that_is_there(tmp_path):
    assert free_bytes(tmp_path / "new" / "file") == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert free_bytes("gs://bucket/run") is None
    assert [readable_size(n) for n in (999, 1_500, 26_840_000)] == [
        "999 bytes",
        "1.5 kB",
        "26.8 MB",
    ]


def test_outputs_that_do_not_fit_leave_nothing(tmp_path):
    for replacing in (replacing_file, replacing_directory):
        with (
            pytest.raises(DiskError, match="the output could not be written"),
            replacing(tmp_path / "out", "the output") as temporary,
        ):
            (temporary / "file" if temporary.is_dir() else temporary).write_text("half")
            raise OSError(errno.ENOSPC, "full")
        assert not list(tmp_path.iterdir())
