"""A run's folder: on a disk, or in a bucket that takes whole files only."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

from lpd_jax.runtime import buckets
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.runtime.json_files import read_json
from lpd_jax.runtime.leases import Lease, leasing
from lpd_jax.runtime.locks import writing_to
from lpd_jax.training.metric_writers import METRICS_FILE
from lpd_jax.training.progress import LOG_FILE
from lpd_jax.training.run_record import RECORD_FILE
from lpd_jax.weights.checkpoint import CHECKPOINTS_FOLDER

DATA_FILE = "data.json"  # what an exported model tells of its data
# What a run goes on with beside its checkpoints: lines it adds to, and what took long to make.
RESUMED = (LOG_FILE, METRICS_FILE, RECORD_FILE, "fid_reference_*.npz", "tokens/*/*")


class Workdir:
    """Where a run writes. Checkpoints go to `checkpoints` directly; all else is written under

    `local`, which is the folder itself, or, of a bucket, a temporary one for each process. `push`
    copies what this process wrote to the bucket, `pull` from it what a run goes on with.

    Raises:
        UserError: a folder that cannot be written to, or a bucket that cannot be reached.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = buckets.reachable("workdir", path)
        self.is_bucket = buckets.is_bucket(path)
        self.checkpoints = self.path / CHECKPOINTS_FOLDER
        self.in_bucket: dict[pathlib.Path, tuple[int, int]] = {}  # size and time of what is there
        self.lease: Lease | None = None
        self.temporary: tempfile.TemporaryDirectory | None = None
        if not self.is_bucket:
            self.local = pathlib.Path(self.path)
            check_writable("workdir", self.local)
            return
        self.temporary = tempfile.TemporaryDirectory(prefix="lpd_jax_")
        self.local = pathlib.Path(self.temporary.name)
        self.pull()

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Keeps other runs out meanwhile; of several processes the first does it for all.

        Raises:
            UserError: another run writes here.
        """
        if not self.is_bucket:
            with writing_to("workdir", self.local):
                yield
            return
        with leasing("workdir", self.path) as self.lease:
            yield

    def pull(self) -> None:
        """Copies from the bucket what a run goes on with, as far as it is not here yet."""
        if not self.is_bucket:
            return
        buckets.forget_listings(self.path)
        for file in (file for pattern in RESUMED for file in self.path.glob(pattern)):
            target = self.local / file.relative_to(self.path)
            if not target.exists():
                buckets.copy_file(file, target)
                self.in_bucket[target] = stamp(target)

    def push(self) -> None:
        """Copies to the bucket what this process wrote since it last did.

        Raises:
            UserError: another run has taken the folder over.
        """
        if not self.is_bucket:
            return
        if self.lease is not None:
            self.lease.check()
        for file in sorted(path for path in self.local.rglob("*") if path.is_file()):
            # A name with a dot in front is that of a file still being written.
            if file.name.startswith(".") or self.in_bucket.get(file) == (now := stamp(file)):
                continue
            buckets.copy_file(file, self.path / epath.Path(file.relative_to(self.local)))
            self.in_bucket[file] = now

    def close(self) -> None:
        self.push()
        if self.temporary is not None:
            self.temporary.cleanup()


def stamp(file: pathlib.Path) -> tuple[int, int]:
    """Changes when a file does."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def check_writable(name: str, folder: pathlib.Path) -> None:
    """Raises UserError where a folder is not, and cannot become, a place to write; makes none."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "cannot be written to" if nearest.is_dir() else "is a file"
        raise UserError(
            f"{name}: got {shown_path(folder)}, but {nearest} {problem}; allowed is a new folder "
            "or "
            "that of a run to go on with"
        )


def write_class_names(folder: pathlib.Path, names: Sequence[str]) -> None:
    with replacing_file(folder / DATA_FILE, "the names of classes") as temporary:
        temporary.write_text(json.dumps({"class_names": list(names)}, indent=1) + "\n", "utf-8")


def read_class_names(folder: epath.Path | pathlib.Path) -> list[str]:
    """Of the data that a run was trained on; none where they have none.

    Raises:
        UserError: the file that says so is damaged.
    """
    file = folder / DATA_FILE
    if not file.is_file():
        return []
    try:
        names = read_json(file)["class_names"]
        if not all(isinstance(name, str) for name in names):
            raise UserError("class_names: got other than strings, allowed is a list of strings")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"workdir: got {shown_path(file)}, which is damaged ({error}); delete it"
        ) from None
    return list(names)
