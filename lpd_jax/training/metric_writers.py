"""Where a run's numbers and pictures go: TensorBoard, a JSON-lines file, Weights & Biases."""

import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from lpd_jax.runtime.appended_files import AppendedFile
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.config import TrainConfig, config_to_json

if TYPE_CHECKING:
    from lpd_jax.training.workdir import Workdir

METRICS_FILE = "metrics.jsonl"


class MetricWriter(Protocol):
    """Takes metrics of a step by kind ("train", "validation"), and pictures uint8 `[H, W, C]`.

    A run goes on without a writer that is not `essential` where the disk does not take `what` it
    writes to `path`.
    """

    essential: bool
    what: str
    path: pathlib.Path

    def metrics(self, step: int, kind: str, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, picture_HWC: np.ndarray) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Events named `train/loss` and the like.

    Written at once: the package's own writer has a thread, which a full disk ends in silence.
    """

    essential, what = False, "the TensorBoard events"

    def __init__(self, folder: pathlib.Path, first_step: int):
        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{platform.node()}"
        # Steps from first_step on may be there from a run that was stopped after its checkpoint.
        restart = SessionLog(status=SessionLog.START)
        self.pending = record(file_version="brain.Event:2")
        self.pending += record(step=first_step, session_log=restart)
        self.file: AppendedFile | None = None  # made with the first event, so that it may fail then

    def metrics(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.add(record(step=step, summary=summary.scalar(f"{kind}/{name}", value)))

    def picture(self, step: int, picture_HWC: np.ndarray) -> None:
        image = summary.image("samples", picture_HWC, dataformats="HWC")
        self.add(record(step=step, summary=image))

    def add(self, event: bytes) -> None:
        if self.file is None:
            self.file = AppendedFile(self.path, self.what)
        self.file.add(self.pending + event)
        self.pending = b""

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def record(**fields: Any) -> bytes:
    """An event as event files hold it: its size and its bytes, each with a checksum."""
    event = Event(wall_time=time.time(), **fields).SerializeToString()
    size = struct.pack("<Q", len(event))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (size, event)]
    return size + checksums[0] + event + checksums[1]


class JsonLines:
    """One line per report in metrics.jsonl: `{"step": 50, "kind": "train", "loss": 5.9, ...}`."""

    essential, what = True, "the metrics"

    def __init__(self, folder: pathlib.Path, first_step: int):
        self.path = folder / METRICS_FILE
        if self.path.exists():
            keep_before(self.path, first_step)
        self.file = AppendedFile(self.path, self.what)

    def metrics(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        line = {"step": step, "kind": kind, "time": round(time.time(), 3), **values}
        self.file.add(f"{json.dumps(line)}\n".encode())

    def picture(self, step: int, picture_HWC: np.ndarray) -> None:
        """Pictures are files of their own."""

    def close(self) -> None:
        self.file.close()


def keep_before(path: pathlib.Path, first_step: int) -> None:
    """Drops lines that a killed run wrote after its last checkpoint, and a torn last one."""
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            is_before = json.loads(line)["step"] < first_step
        except (ValueError, KeyError, TypeError):  # torn, or what a crash of the system left
            continue
        if is_before and line.endswith("\n"):
            kept.append(line)
    with replacing_file(path, "the metrics") as temporary:
        pathlib.Path(temporary).write_text("".join(kept), encoding="utf-8")


def was_judged(folder: pathlib.Path, step: int) -> bool:
    """Whether a run that reached this step told what validation says of it."""
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    reports = map(json.loads, lines)  # whole ones: see `keep_before`
    return any((report["step"], report["kind"]) == (step, "validation") for report in reports)


def check_wandb(project: str) -> None:
    """Raises UserError where a project is named and its package is not installed."""
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"wandb_project: got {shown(project)}, but the package wandb is not installed; allowed "
            "is that after `pip install wandb`, or an empty name"
        )


def run_id(project: str, workdir: str | os.PathLike) -> str:
    """Names a run by its project and its whole path: `a/lpd` and `b/lpd` are two."""
    return hashlib.sha256(f"{project}\n{os.fspath(workdir)}".encode()).hexdigest()[:16]


class WeightsAndBiases:
    """A run of a Weights & Biases project; a resumed training goes on with the same one.

    Args:
        folder: local, for the package's own files.
        project: that the run belongs to.
        config: shown beside the run.
        workdir: full path of the run, local or of a bucket: the same path is the same run.
    """

    essential, what = False, "the files of Weights & Biases"

    def __init__(
        self,
        folder: pathlib.Path,
        project: str,
        config: Mapping[str, Any],
        workdir: str | os.PathLike,
    ):
        import wandb

        self.wandb: Any = wandb
        self.path = folder
        self.run = wandb.init(
            project=project,
            name=pathlib.PurePosixPath(workdir).name,
            id=run_id(project, workdir),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )

    def metrics(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        self.run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def picture(self, step: int, picture_HWC: np.ndarray) -> None:
        self.run.log({"samples": self.wandb.Image(picture_HWC)}, step=step)

    def close(self) -> None:
        self.run.finish()


def open_writers(
    model: Any, config: TrainConfig, place: "Workdir", first_step: int
) -> list[MetricWriter]:
    """Where numbers go; nowhere on all processes but the first."""
    if jax.process_index() > 0:
        return []
    folder = place.local
    writers: list[MetricWriter] = [TensorBoard(folder, first_step), JsonLines(folder, first_step)]
    if project := config.wandb_project:
        shown = config_to_json(model, config)
        writers.append(WeightsAndBiases(folder, project, shown, workdir=place.path))
    return writers
