"""Files that grow while a program runs: each piece is added whole, or nothing of it."""

import contextlib
import os
import pathlib

from lpd_jax.runtime.disk_faults import writing


class AppendedFile:
    """A file that pieces are added to. Nothing waits in memory, so closing it cannot fail.

    Args:
        path: of the file; it may be there.
        what: it is, for errors: "the metrics".

    Raises:
        DiskError: the file cannot be made, or a piece cannot be added.
    """

    def __init__(self, path: pathlib.Path, what: str):
        self.path, self.what = path, what
        with writing(what, path):
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def add(self, piece: bytes) -> None:
        with writing(self.what, self.path):
            size = os.fstat(self.file).st_size
            written = 0
            try:
                while written < len(piece):
                    written += os.write(self.file, piece[written:])
            finally:
                if written < len(piece):
                    with contextlib.suppress(OSError):
                        os.ftruncate(self.file, size)

    def close(self) -> None:
        if self.file >= 0:
            with contextlib.suppress(OSError):
                os.close(self.file)
        self.file = -1
