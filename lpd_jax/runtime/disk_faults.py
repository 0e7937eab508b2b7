"""Disks that fail while they are written to: one line that says what, where, and what is free.

Libraries in C++ tell of the same faults in errors of many classes, so their texts are read too.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from lpd_jax.runtime.buckets import is_bucket
from lpd_jax.runtime.errors import PATH_LENGTH, UserError, cut

# Only who writes meets these: full, over a quota, read-only, larger than a file may be.
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# A disk or a mount that went away; readers of other files meet them too.
OF_ANY_ACCESS = (
    errno.EIO,
    errno.ENOENT,
    errno.ENODEV,
    errno.ENXIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EACCES,
    errno.EPERM,
)
# Who reads meets these, and they are no fault of the file: the process or the machine is at a
# limit, or what holds the file does not answer. At another time the same file is read.
OF_READING = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENODEV,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ECONNRESET,
    errno.ECONNABORTED,
)
NAMES_A_PATH = re.compile(r"(^|[\s\"'(])/")
# As TensorStore and libraries in Rust write them.
NUMBERS = re.compile(r"os[_ ]error(?:_code)?[ =:']+(\d+)")


class DiskError(OSError):
    """What was being written could not be: the disk is full, read-only or gone.

    Or what was being read, where the disk is gone or the machine is at its limits.

    Nothing is wrong with what the user gave: launch scripts show the line and exit with 1.
    """


@contextlib.contextmanager
def writing(what: str, path: str | os.PathLike) -> Iterator[None]:
    """Inside, faults of the disk that `path` lies on become one `DiskError`.

    Args:
        what: is being written; it begins the error, "the checkpoint of step 4".
        path: of the file or folder; it need not be there.
    """
    try:
        yield
    except (DiskError, UserError):
        raise
    except Exception as error:
        number = fault_number(error, path)
        if number is None:
            raise
        raise disk_error(what, path, number) from error


def disk_error(
    what: str, path: str | os.PathLike, number: int, needed: int | None = None
) -> DiskError:
    """The error for a fault of the system's `number`, where `needed` bytes were to be written."""
    facts, free = [os.strerror(number)], free_bytes(path)
    if needed is not None:
        facts.append(f"{readable_size(needed)} needed")
    if free is not None:
        facts.append(f"{readable_size(free)} free")
    error = DiskError(
        f"{cut(str(path), PATH_LENGTH)}: {what} could not be written ({'; '.join(facts)})"
    )
    error.errno = number
    return error


def fault_number(error: BaseException, path: str | os.PathLike) -> int | None:
    """The system's number of the fault of the disk of `path` that an error tells of, if it does."""
    folder = os.path.dirname(os.fspath(path))
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        ours = not isinstance(name, str | bytes) or os.fsdecode(name).startswith(folder)
        number: int | None = error.errno
    else:
        text = str(error)
        ours = folder in text or not NAMES_A_PATH.search(text)
        number = number_in(text)
    return number if number in OF_WRITING or (number in OF_ANY_ACCESS and ours) else None


def number_in(text: str) -> int | None:
    """The fault that a text names, by its number or in the system's words."""
    if found := NUMBERS.search(text):
        return int(found[1])
    words = {os.strerror(number): number for number in (*OF_WRITING, *OF_ANY_ACCESS)}
    return next((number for word, number in words.items() if word in text), None)


def tells_of_reading(text: str) -> bool:
    """Whether an error's text names a fault that is none of the file's that could not be read."""
    faults = (*OF_READING, errno.EIO, errno.ENOENT)
    return any(os.strerror(number) in text for number in faults)


def free_bytes(path: str | os.PathLike) -> int | None:
    """What can still be written where `path` lies or is to lie; None where nobody can tell."""
    if is_bucket(path):
        return None
    folder = pathlib.Path(path).absolute()
    try:
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free
    except OSError:  # the disk itself is gone
        return None


def readable_size(count: int) -> str:
    """Bytes as people write them: "26.8 MB"."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
