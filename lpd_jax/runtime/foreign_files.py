"""Files that are not what their name says: what a download leaves that did not get the real one."""

from pathlib import Path

LOOKED_AT = 512  # bytes at the start
POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<!--", b"<?xml", b"<error")


def what_instead(source: Path | bytes) -> str:
    """What a file is in place of weights, numbers or pictures, and the remedy; "" if nothing known.

    Args:
        source: the file, or what it begins with.
    """
    if isinstance(source, bytes):
        start = source[:LOOKED_AT]
    else:
        with source.open("rb") as file:
            start = file.read(LOOKED_AT)
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(POINTER):
        return "a Git LFS pointer in place of the file; `git lfs pull` fetches it"
    if start.startswith(PAGES):
        return "a web page in place of the file; download the file, with a login where it needs one"
    return ""
