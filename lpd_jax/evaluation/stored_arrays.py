"""The array of an .npz from any place on, without what lies before it."""

import contextlib
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy

LOCAL_HEADER = 30  # bytes before the name of a file in a zip, of which the last say two lengths


@contextlib.contextmanager
def opened_at(path: Any, name: str, start: int) -> Iterator[Any]:
    """Gives a file that stands at a byte of an array's numbers.

    What is not compressed is not read up to there: of 50,000 pictures in 100 shards that would be
    fifty times all of them.

    Args:
        path: of the .npz, local.
        name: of the array's file in it.
        start: byte of the numbers.
    """
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        read_header(file)
        start, entry = start + file.tell(), archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            file.seek(start)
            yield file
            return
    with open(path, "rb") as whole:
        whole.seek(entry.header_offset)
        lengths = struct.unpack("<HH", whole.read(LOCAL_HEADER)[-4:])  # of the name and of notes
        whole.seek(entry.header_offset + LOCAL_HEADER + sum(lengths) + start)
        yield whole


def read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and type of the array that begins here."""
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    return npy.read_array_header_2_0(file)
