"""A run's folder on a disk, and in a bucket that takes whole files only."""

import importlib.util
import pathlib

import pytest

from lpd_jax.training.workdir import Workdir


def test_on_a_disk_everything_is_written_in_place(tmp_path):
    workdir = Workdir(tmp_path / "run")
    assert workdir.local == tmp_path / "run"
    assert pathlib.Path(workdir.checkpoints) == tmp_path / "run" / "checkpoints"
    workdir.close()
    assert not list(tmp_path.iterdir())


def test_a_bucket_gets_what_is_new(tmp_path):
    bucket = tmp_path / "bucket"
    workdir = Workdir(bucket, is_bucket=True)
    (workdir.local / "metrics.jsonl").write_text("1\n")
    (workdir.local / "samples").mkdir()
    (workdir.local / "samples" / "a.png").write_bytes(b"picture")
    workdir.push()
    (bucket / "samples" / "a.png").write_bytes(b"not written again")
    with open(workdir.local / "metrics.jsonl", "a") as file:
        file.write("2\n")
    local = workdir.local
    workdir.close()
    assert (bucket / "metrics.jsonl").read_text() == "1\n2\n"
    assert (bucket / "samples" / "a.png").read_bytes() == b"not written again"
    assert not local.exists()
    # A resumed run adds lines.
    resumed = Workdir(bucket, is_bucket=True)
    assert (resumed.local / "metrics.jsonl").read_text() == "1\n2\n"
    resumed.close()


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_bucket_needs_its_package():
    with pytest.raises(ValueError, match=r"^workdir: got 'gs://bucket/run', but .* gcsfs"):
        Workdir("gs://bucket/run")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^workdir: got .*is a file; allowed is a new folder"):
        Workdir(tmp_path / "file")
