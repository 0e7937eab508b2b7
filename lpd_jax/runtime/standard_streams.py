"""Standard input, output and error of a command, whatever the shell has connected them to."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any


class Unbroken:
    """A stream that ends no command: where it cannot be written to, all goes on without it.

    Its reader may leave, as `| head -1` does. Its disk may be full, its terminal be closed: that is
    `lost`, and told on standard error once.
    """

    def __init__(self, stream: io.TextIOWrapper, name: str):
        self._stream, self._name = stream, name
        self.lost: OSError | None = None
        with contextlib.suppress(OSError):  # what waits for a slow reader is not lost
            os.set_blocking(stream.fileno(), True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._going_on():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._going_on():
            self._stream.flush()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._write_to_nothing()
        except OSError as error:
            self.lost = error
            self._write_to_nothing()
            if self is not sys.stderr:
                program = os.path.basename(sys.argv[0])
                print(
                    f"{program}: {self._name} cannot be written to ({error.strerror}); going on "
                    "without",
                    file=sys.stderr,
                )

    def _write_to_nothing(self) -> None:
        """From here on, and what waits in the buffer."""
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), self._stream.fileno())


def prepare_streams() -> None:
    """Makes the three streams of this process ones that a command can rely on."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        open_if_closed(number, name)
    for name, title in (("stdout", "standard output"), ("stderr", "standard error")):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter must not fail a command that has done its work.
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Unbroken(stream, title))


def open_if_closed(number: int, name: str) -> None:
    """A stream that the shell closed, as `2>&-` does, reads and writes nothing.

    The next file that is opened would get its number, and what C libraries tell on standard error
    would be written into it.
    """
    try:
        os.fstat(number)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != number:
            os.dup2(nothing, number)
            os.close(nothing)
    if getattr(sys, name) is None:
        mode = "w" if number else "r"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def output_is_lost() -> bool:
    """Whether some of standard output could not be written; what waits for it is written now."""
    sys.stdout.flush()
    return isinstance(sys.stdout, Unbroken) and sys.stdout.lost is not None
