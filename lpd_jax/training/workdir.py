"""A run's folder: on a disk, or in a bucket that takes whole files only."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from etils import epath

from lpd_jax.evaluation.while_training import REFERENCE_FILES
from lpd_jax.runtime import buckets
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.bucket_mirror import Mirror
from lpd_jax.runtime.errors import UserError, printable, shown_path
from lpd_jax.runtime.json_files import read_json
from lpd_jax.runtime.locks import writing_to
from lpd_jax.runtime.mesh import first_process_says
from lpd_jax.training.metric_writers import METRICS_FILE
from lpd_jax.training.progress import LOG_FILE
from lpd_jax.training.run_record import RECORD_FILE
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER

DATA_FILE = "data.json"  # of what a run learns
CLASS_NAMES, TOKENIZER = "class_names", "tokenizer"  # its fields
# What a run goes on with beside its checkpoints: lines it adds to, and what took long to make.
RESUMED = (
    LOG_FILE,
    METRICS_FILE,
    RECORD_FILE,
    "fid_reference_*.npz",
    REFERENCE_FILES,
    "tokens/*/*",
)


class Workdir:
    """Where a run writes.

    Checkpoints go to `checkpoints` directly; all else is written under `local`, which is the folder
    itself, or, of a bucket, a temporary one for each process. `push` copies what this process wrote
    to the bucket, `pull` from it what a run goes on with.

    Raises:
        UserError: a folder that cannot be written to, or a bucket that cannot be reached.
    """

    def __init__(self, path: str | os.PathLike):
        if path == "":  # as a path, it would be the current folder
            raise UserError("workdir: got '', allowed is a path")
        self.path = buckets.reachable("workdir", path)
        check_name("workdir", self.path)
        self.checkpoints = self.path / CHECKPOINTS_FOLDER
        self.mirror = Mirror(self.path, RESUMED) if buckets.is_bucket(path) else None
        self.local = pathlib.Path(self.path) if self.mirror is None else self.mirror.local
        if self.mirror is None:
            check_writable("workdir", self.local)

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Keeps other runs out meanwhile; of several processes the first does it for all.

        Raises:
            UserError: another run writes here.
        """
        with contextlib.ExitStack() as stack:
            problem: Exception | None = None
            if jax.process_index() == 0:
                try:
                    stack.enter_context(self.lock())
                except (UserError, OSError) as error:
                    problem = error
            if not first_process_says(problem is None):
                raise problem or UserError("workdir: process 0 may not write to it, and says why")
            yield

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """What keeps other runs out: of a bucket its lease, else a file."""
        if self.mirror is not None:
            return self.mirror.sole_writer("workdir")
        return writing_to("workdir", self.local)

    def pull(self) -> None:
        """Copies from the bucket what a run goes on with, as far as it is not here yet."""
        if self.mirror is not None:
            self.mirror.pull()

    def push(self) -> None:
        """Copies to the bucket what this process wrote since it last did.

        Raises:
            UserError: another run has taken the folder over.
        """
        if self.mirror is not None:
            self.mirror.push()

    def close(self) -> None:
        if self.mirror is not None:
            self.mirror.close()


def check_name(name: str, folder: epath.Path) -> None:
    """Raises UserError for a path to which no checkpoint could be written, or not read again."""
    if printable(str(folder)) != str(folder) or "\\" in str(folder):
        raise UserError(
            f"{name}: got {shown_path(folder)}, allowed are paths of UTF-8 from the root on, "
            "without a backslash"
        )


def check_writable(name: str, folder: pathlib.Path) -> None:
    """Raises UserError where a folder is not, and cannot become, a place to write; makes none."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "cannot be written to" if nearest.is_dir() else "is a file"
        raise UserError(
            f"{name}: got {shown_path(folder)}, but {nearest} {problem}; allowed is a new folder "
            "or that of a run to go on with"
        )


def write_data(folder: pathlib.Path, class_names: Sequence[str], tokenizer: str = "") -> None:
    """Says of what a run learns.

    Args:
        class_names: one a class, or none.
        tokenizer: digest of what makes a transformer's tokens.
    """
    about = {CLASS_NAMES: list(class_names)} | ({TOKENIZER: tokenizer} if tokenizer else {})
    with replacing_file(folder / DATA_FILE, "what the data are") as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def read_data(folder: epath.Path | pathlib.Path) -> dict[str, Any]:
    """What `write_data` wrote; nothing where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / DATA_FILE
    if not file.is_file():
        return {}
    try:
        about = read_json(file)
        if not all(
            isinstance(name, str) for name in [*about[CLASS_NAMES], about.get(TOKENIZER, "")]
        ):
            raise UserError("class_names: got other than strings, allowed is a list of strings")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"workdir: got {shown_path(file)}, which is damaged ({error}); delete it"
        ) from None
    return dict(about)


def read_class_names(folder: epath.Path | pathlib.Path) -> list[str]:
    """Of the data that a run was trained on, or none; UserError as `read_data`."""
    return list(read_data(folder).get(CLASS_NAMES, []))
