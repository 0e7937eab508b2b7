"""A run's folder: on a disk, or in a bucket that takes whole files only."""

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.metric_writers import METRICS_FILE
from lpd_jax.training.progress import LOG_FILE
from lpd_jax.training.resume import check_writable
from lpd_jax.weights.checkpoint import absolute

CHECKPOINTS_FOLDER = "checkpoints"
DATA_FILE = "data.json"  # what an exported model tells of its data


class Workdir:
    """Where a run writes. Checkpoints go to `checkpoints` directly; all else is written under

    `local`, which is the folder itself, or a temporary one that `push` copies to the bucket.

    Raises:
        ValueError: a folder that cannot be written to.
    """

    def __init__(self, path: Any, is_bucket: bool | None = None):
        self.path = absolute(path)
        self.is_bucket = "://" in str(path) if is_bucket is None else is_bucket
        self.checkpoints = self.path / CHECKPOINTS_FOLDER
        self.pushed: dict[pathlib.Path, tuple[int, int]] = {}
        self.temporary: tempfile.TemporaryDirectory | None = None
        if not self.is_bucket:
            self.local = pathlib.Path(self.path)
            check_writable("workdir", self.local)
            return
        self.temporary = tempfile.TemporaryDirectory(prefix="lpd_jax_")
        self.local = pathlib.Path(self.temporary.name)
        try:
            self.pull()
        except ImportError as error:
            self.temporary.cleanup()
            raise UserError(
                f"workdir: got {str(path)!r}, but {error}; allowed is a folder of this machine, or "
                "that after `pip install gcsfs`"
            ) from None

    def pull(self) -> None:
        """Copies from the bucket what a resumed run adds lines to."""
        for name in (LOG_FILE, METRICS_FILE):
            if (self.path / name).exists():
                (self.local / name).write_bytes((self.path / name).read_bytes())

    def push(self) -> None:
        """Copies what is new or longer to the bucket, from the process that writes it."""
        if not self.is_bucket or jax.process_index() > 0:
            return
        for file in sorted(path for path in self.local.rglob("*") if path.is_file()):
            stat = file.stat()
            if self.pushed.get(file) == (stamp := (stat.st_size, stat.st_mtime_ns)):
                continue
            target = self.path / epath.Path(file.relative_to(self.local))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            self.pushed[file] = stamp

    def close(self) -> None:
        self.push()
        if self.temporary is not None:
            self.temporary.cleanup()


def write_class_names(folder: pathlib.Path, names: Sequence[str]) -> None:
    with replacing_file(folder / DATA_FILE) as temporary:
        temporary.write_text(json.dumps({"class_names": list(names)}, indent=1) + "\n", "utf-8")


def read_class_names(folder: pathlib.Path) -> list[str]:
    """Of the data that a run was trained on; none where they have none.

    Raises:
        ValueError: the file that says so is damaged.
    """
    file = folder / DATA_FILE
    if not file.is_file():
        return []
    try:
        names = json.loads(file.read_text("utf-8"))["class_names"]
        if not all(isinstance(name, str) for name in names):
            raise UserError("class_names: allowed is a list of strings")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"workdir: {file} is damaged ({error}); delete it") from None
    return list(names)
