"""Checkpoints in buckets that Orbax does not write to: written here, then copied whole.

Orbax reaches `gs://` by itself. Of other buckets a step's folder is copied file by file, and is a
checkpoint once its last file, Orbax's own marker, is there.
"""

import pathlib
import tempfile
from collections.abc import Sequence
from os import PathLike

import jax
import orbax.checkpoint as ocp
from etils import epath

from lpd_jax.runtime import buckets
from lpd_jax.runtime.errors import UserError, shown_path

MARKER = "commit_success.txt"


def is_copied(folder: str | PathLike) -> bool:
    """Whether checkpoints of a folder are local ones that are copied there."""
    return buckets.is_bucket(folder) and not str(folder).startswith("gs://")


class Copies:
    """A temporary folder that stands for a bucket's folder of checkpoints."""

    def __init__(self, folder: epath.Path, newest: int, items: Sequence[str] = ()):
        """Args:
        folder: of the bucket.
        newest: how many of the newest checkpoints are fetched.
        items: what of them is; none is all.

        Raises:
            UserError: a run of several processes, each of which would have a part only.
        """
        if jax.process_count() > 1:
            raise UserError(
                f"workdir: got {shown_path(folder)} in a run of {jax.process_count()} processes, "
                "allowed are gs://BUCKET/... and a folder that all of them see"
            )
        self.folder = folder
        self.temporary = tempfile.TemporaryDirectory(prefix="lpd_jax_")
        self.local = pathlib.Path(self.temporary.name)
        self.names = {str(step) for step in committed_steps(folder)[:newest]}  # here and there
        for name in self.names:
            for file in buckets.files_below(folder / name):
                item, *inside = file.split("/")
                if not inside or not items or item in items:
                    buckets.copy_file(folder / name / file, self.local / name / file)

    def push(self) -> None:
        """Copies what is new here, and deletes there what was deleted here."""
        here = {x.name for x in self.local.iterdir() if ocp.utils.is_checkpoint_finalized(x)}
        for name in sorted(here - self.names):
            buckets.delete_folder(self.folder / name)  # what a killed process left of it
            files = [x for x in (self.local / name).rglob("*") if x.is_file()]
            for file in files:
                if file != self.local / name / MARKER:
                    path = file.relative_to(self.local).as_posix()
                    buckets.copy_file(file, self.folder / path)
            (self.folder / name / MARKER).write_text("copied whole\n")
        for name in sorted(self.names - here):
            (self.folder / name / MARKER).unlink(missing_ok=True)
            buckets.delete_folder(self.folder / name)
        self.names = here

    def close(self) -> None:
        self.temporary.cleanup()


def committed_steps(folder: epath.Path) -> list[int]:
    """Steps of the checkpoints that are whole in a bucket, newest first."""
    steps = [int(name) for name in buckets.subfolders(folder) if name.isdecimal()]
    return sorted((x for x in steps if (folder / str(x) / MARKER).exists()), reverse=True)
