"""Which files lie below a folder, and what tells them from others of the same names."""

import concurrent.futures
import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from lpd_jax.data.folder_walk import is_hidden, tell, walk_classes
from lpd_jax.runtime.buckets import files_below, is_bucket
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.runtime.picture_files import UnreadablePicture, stored_size

LOOKERS, LOOKED_AT = 16, 4096  # threads, as files may be far away; files that wait for them


def files_with(
    folder: Any, endings: Collection[str], field: str, wanted: str = "pictures"
) -> tuple[list[str], str]:
    """Paths below a folder of the files of these endings, sorted, and a digest of them.

    As training reads folders: what is hidden is left out, links are followed, each once, and a line
    counts what is no picture.

    Args:
        folder: local or of a bucket.
        endings: of the names, in lower case.
        field: what the user calls the folder, for errors.
        wanted: what the endings are of.

    Raises:
        UserError: a folder that cannot be read, or a link to nothing.
    """
    if not is_bucket(folder):
        walk = walk_classes(folder, [""], endings, field)
        tell(walk, folder, wanted)
        names = sorted(walk.files[""])
        return names, digest_of_files(folder, names, None, field)
    below = files_below(folder)
    names = [
        name
        for name in sorted(below)
        if os.path.splitext(name)[1].lower() in endings and not is_hidden(name)
    ]
    return names, digest_of_files(folder, names, below, field)


def spread_out(names: Sequence[str], count: int) -> list[str]:
    """The same paths in the order of `evenly`; of one folder as they are.

    There the first ones are taken, which a model may have drawn of its classes in turn.
    """
    one = len(set(map(os.path.dirname, names))) == 1
    return [names[row] for row in evenly(len(names), 0 if one else count)]


def evenly(number: int, count: int) -> Sequence[int]:
    """Rows, those of them first that are taken where only so many are asked for: evenly among all.

    What is sorted by class would otherwise give its first classes.

    Args:
        number: of all rows.
        count: how many are asked for; 0 is all.
    """
    if not 0 < count < number:
        return range(number)
    taken = dict.fromkeys(np.linspace(0, number - 1, count).astype(int).tolist())
    return [*taken, *(row for row in range(number) if row not in taken)]


def first_odd_picture(folder: Any, names: Sequence[str], size: tuple[int, ...]) -> int | None:
    """Number of the first file that begins as no picture, or as one of another size.

    Args:
        folder: local; of a bucket, where each look is a request, no file is looked at.
        names: paths below it.
        size: (height, width) of all, turned or not; () is any.
    """

    def is_odd(name: str) -> bool:
        try:
            sides = stored_size(folder / name)
        except (UnreadablePicture, OSError):
            return True
        return bool(size) and sorted(sides) != sorted(size)

    with concurrent.futures.ThreadPoolExecutor(LOOKERS) as pool:
        for start in range(0, 0 if is_bucket(folder) else len(names), LOOKED_AT):
            for number, odd in enumerate(pool.map(is_odd, names[start : start + LOOKED_AT]), start):
                if odd:
                    return number
    return None


def digest_of_files(folder: Any, names: Iterable[str], listed: Any, field: str) -> str:
    """Tells files from others of the same names, such as pictures that were drawn anew.

    Args:
        folder: local or of a bucket.
        names: paths below it.
        listed: what `files_below` says of a bucket's.
        field: what the user calls the folder, for errors.
    """
    digest = hashlib.sha256()
    for name in names:
        if is_bucket(folder):
            about = f"{listed[name]['size']}"
        else:  # the time tells those of one size apart
            try:
                status = (folder / name).stat()
            except OSError as error:
                raise UserError(
                    f"{field}: got {shown_path(folder / name)}: {error.strerror}"
                ) from None
            about = f"{status.st_size} {status.st_mtime_ns}"
        digest.update(f"{name} {about}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def what_is(name: str, place: Any) -> str:
    """Of a path in an error that is none of what is allowed."""
    if not name:
        return "missing"
    problem = "is another kind of file" if place.is_file() else "is not there"
    return f"got {shown_path(name)}, which {problem}"
