"""A local folder whose files go to a bucket, which takes whole files only."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

from lpd_jax.runtime import buckets
from lpd_jax.runtime.leases import Lease, leasing


class Mirror:
    """Stands for a bucket's folder in this process; `local` is a temporary folder.

    `push` copies to the bucket what this process wrote, `pull` from it what others did.
    """

    def __init__(self, path: epath.Path, patterns: Sequence[str]):
        """Args:
        path: the bucket's folder.
        patterns: of the files that are pulled, now and later.
        """
        self.path, self.patterns = path, patterns
        self.in_bucket: dict[pathlib.Path, tuple[int, int]] = {}  # size and time of what is there
        self.lease: Lease | None = None
        self.temporary = tempfile.TemporaryDirectory(prefix="lpd_jax_")
        self.local = pathlib.Path(self.temporary.name)
        self.pull()

    @contextlib.contextmanager
    def sole_writer(self, name: str) -> Iterator[None]:
        """Keeps the processes of other commands out meanwhile.

        Args:
            name: the option that names the folder, for errors.

        Raises:
            UserError: another process writes there.
        """
        with leasing(name, self.path) as self.lease:
            self.pull(grown=True)  # who held it before wrote until then
            try:
                yield
            finally:
                self.push()  # as long as nobody else may write

    def pull(self, grown: bool = False) -> None:
        """Copies from the bucket what fits the patterns and is not here yet.

        Args:
            grown: or has another size there, and was not changed here.
        """
        buckets.forget_listings(self.path)
        for file in (file for pattern in self.patterns for file in self.path.glob(pattern)):
            target = self.local / file.relative_to(self.path)
            if not target.exists() or (grown and self.has_grown(file, target)):
                buckets.copy_file(file, target)
                self.in_bucket[target] = stamp(target)

    def has_grown(self, file: epath.Path, target: pathlib.Path) -> bool:
        here = stamp(target)
        return self.in_bucket.get(target) == here and file.stat().length != here[0]

    def push(self) -> None:
        """Copies to the bucket what this process wrote since it last did.

        Raises:
            UserError: another process has taken the folder over.
        """
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
        self.temporary.cleanup()


def stamp(file: pathlib.Path) -> tuple[int, int]:
    """Changes when a file does."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns
