"""What a run can do without: pictures and events leave room for checkpoints, and one warning."""

import contextlib
import errno
import json
import os
import types

import numpy as np
import pytest

from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.training import progress as progress_module
from lpd_jax.training.metric_writers import JsonLines, TensorBoard
from lpd_jax.training.progress import Progress

PICTURE = np.zeros((4, 4, 3), np.uint8)


def checkpoints(fits: bool):
    return types.SimpleNamespace(has_room=lambda: fits, next_fits=lambda: fits, needed=5_000_000)


def open_progress(folder, fits: bool):
    writers = [TensorBoard(folder, 1), JsonLines(folder, 1)]
    return Progress(folder, 1, 4, 8, writers=writers, checkpoints=checkpoints(fits))


def fail(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_pictures_leave_the_room_of_the_next_checkpoint(tmp_path, capfd):
    with open_progress(tmp_path, fits=False) as progress:
        for step in (1, 2):
            progress.picture(step, PICTURE)
            progress.report(step, "validation", {"loss": 1.0})
    assert not (tmp_path / "samples").exists()
    warnings = [x for x in capfd.readouterr().err.splitlines() if "samples" in x]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{tmp_path}/samples: the sample pictures could not be written (")
    assert "5.0 MB needed" in warnings[0] and warnings[0].endswith("; training goes on without")
    assert warnings[0] in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize("what", ["pictures", "events"])
def test_what_a_full_disk_does_not_take_is_said_once_and_metrics_go_on(
    tmp_path, monkeypatch, capfd, what
):
    with open_progress(tmp_path, fits=True) as progress:
        if what == "pictures":
            monkeypatch.setattr(progress_module, "save_png", fail)
        else:
            monkeypatch.setattr(TensorBoard, "add", fail)
        for step in (1, 2):
            progress.picture(step, PICTURE)
            progress.report(step, "validation", {"loss": 1.0})
    warnings = [x for x in capfd.readouterr().err.splitlines() if "training goes on without" in x]
    assert len(warnings) == 1 and "No space left on device" in warnings[0]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_run_ends_where_the_next_checkpoint_does_not_fit_either(tmp_path, monkeypatch):
    monkeypatch.setattr(TensorBoard, "add", fail)
    with (
        open_progress(tmp_path, fits=False) as progress,
        pytest.raises(DiskError, match="the TensorBoard events could not be written"),
    ):
        progress.report(1, "train", {"loss": 1.0})


def test_metrics_are_essential(tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(open_progress(tmp_path, fits=True))
        monkeypatch.setattr(JsonLines, "metrics", fail)
        with pytest.raises(DiskError, match="the metrics could not be written"):
            progress.report(1, "train", {"loss": 1.0})


def test_events_are_read_back_by_tensorboards_format(tmp_path):
    """Each record: size, checksum, event, checksum; the first events say version and restart."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    with open_progress(tmp_path, fits=True) as progress:
        progress.report(3, "validation", {"loss": 1.5})
        progress.picture(3, PICTURE)
    [file] = tmp_path.glob("events.out.tfevents.*")
    data, events = file.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
        body = data[12 : 12 + size]
        assert int.from_bytes(data[12 + size : 16 + size], "little") == masked_crc32c(body)
        events.append(Event.FromString(body))
        data = data[16 + size :]
    version, restart, scalar, picture = events
    assert version.file_version == "brain.Event:2"
    assert restart.session_log.status == 1 and restart.step == 1
    assert [value.tag for value in scalar.summary.value] == ["validation/loss"]
    assert scalar.summary.value[0].simple_value == 1.5 and scalar.step == 3
    assert picture.summary.value[0].image.width == 4


def test_a_path_that_is_no_text_can_be_logged(tmp_path, capsys):
    with open_progress(tmp_path, fits=True) as progress:
        progress.line("workdir caf\udce9", show=False)
    assert (tmp_path / "train.log").read_text(encoding="utf-8").endswith(r"workdir caf\xe9" + "\n")
