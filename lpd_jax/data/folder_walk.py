"""Which files below a folder are pictures: each real folder once, none of the hidden ones."""

import collections
import dataclasses
import logging
import os
import pathlib
import unicodedata
from collections.abc import Collection, Iterator, Sequence

from etils import epath

from lpd_jax.runtime.buckets import files_below, is_bucket, subfolders
from lpd_jax.runtime.errors import UserError, printable
from lpd_jax.runtime.picture_files import endings

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # heard where others are told to report errors only
told: set[str] = set()  # what was said before

Identity = tuple[int, int]  # device and inode: the same by whatever path
# Folders that no person made, in lower case: of a Mac's archives, of disks, and of network drives,
# where @eaDir holds a small copy of each picture.
OF_SYSTEMS = (
    *("__macosx", "lost+found", "$recycle.bin", "system volume information"),
    *("@eadir", "#recycle", "#snapshot"),
)


@dataclasses.dataclass
class Walk:
    """What a walk found and passed by.

    Attributes:
        files: the pictures of each class folder, in the order of their paths.
        endings: of the names of pictures, in lower case.
        left_out: how many files of each ending are no pictures.
        passed_by: links that lead to where the walk is or was.
        beside: pictures that lie in no class folder.
        to_nothing: links whose folder, if it was one, is not there.
        field: what the user calls the folder.
    """

    files: dict[str, list[str]]
    endings: Collection[str] = dataclasses.field(default_factory=endings)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    passed_by: list[str] = dataclasses.field(default_factory=list)
    beside: list[str] = dataclasses.field(default_factory=list)
    to_nothing: list[str] = dataclasses.field(default_factory=list)
    field: str = "data.path"

    def kinds_left_out(self) -> str:
        """The most common endings of files that are no pictures, each with their number."""
        counts = ", ".join(f"{kind} ({count})" for kind, count in self.left_out.most_common(5))
        return counts + (", ..." if len(self.left_out) > 5 else "")


def walk_classes(
    root: pathlib.Path,
    names: Sequence[str],
    known_endings: Collection[str] | None = None,
    field: str = "data.path",
) -> Walk:
    """Pictures below the class folders `names` of `root`, as paths below `root`.

    `known_endings` of file names, in lower case, are those of other files than pictures. The name
    "" is the root itself.

    Real folders come first, then those that only links lead to. A link to a folder that was seen,
    and one that leads back to a folder it lies in, is passed by: a class folder is no part of
    another class.
    """
    walk = Walk({name: [] for name in names}, known_endings or endings(), field=field)
    if is_bucket(root):
        note_bucket(walk, root)
        return walk
    seen = {identity(root / name) for name in names}
    links: collections.deque[tuple[str, pathlib.Path]] = collections.deque()
    for name in names:
        walk_folder(walk, root, name, root / name, seen, links)
    while links:
        name, link = links.popleft()
        if identity(link) in seen or is_circle(link):
            walk.passed_by.append(os.path.relpath(link, root))
            continue
        seen.add(identity(link))
        walk_folder(walk, root, name, link, seen, links)
    for found in walk.files.values():
        found.sort()
    return walk


def note_bucket(walk: Walk, root: epath.Path) -> None:
    """Notes the files of a bucket's folder; there are no links."""
    for path in files_below(root):
        name, *inside = path.split("/")
        if name in walk.files and inside and not is_hidden(path):
            note(walk, name, path)


def is_hidden(path: str) -> bool:
    """Whether a file is, or a folder that it lies in, as a Mac's "._photo.npz"."""
    return any(is_hidden_name(part) for part in path.split("/") if part != ".")


def is_hidden_name(name: str) -> bool:
    return name.startswith(".") or name.casefold() in OF_SYSTEMS


def walk_folder(
    walk: Walk,
    root: pathlib.Path,
    name: str,
    folder: pathlib.Path,
    seen: set[Identity],
    links: collections.deque[tuple[str, pathlib.Path]],
) -> None:
    """Notes the files of a folder and the real folders in it; its links are left for later."""
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        for entry in visible_entries(current, walk.field):
            path = current / entry.name
            if not is_folder(entry):
                note_file(walk, name, entry, os.path.relpath(path, root))
            elif entry.is_symlink():
                links.append((name, path))
            elif (own := identity(path)) not in seen:
                seen.add(own)
                waiting.append(path)
            else:  # mounted twice
                walk.passed_by.append(os.path.relpath(path, root))


def note_file(walk: Walk, name: str, entry: os.DirEntry, path: str) -> None:
    """A picture by its name, or one more that is left out."""
    is_missing = entry.is_symlink() and not os.path.exists(entry)
    if is_missing and ending_of(path) not in walk.endings:
        walk.to_nothing.append(path)
        return
    # A link to nothing is a picture that is missing: reading it says so.
    note(walk, name, path, is_file=is_missing or entry.is_file())


def note(walk: Walk, name: str, path: str, is_file: bool = True) -> None:
    ending = ending_of(path)
    if not is_file:  # reading it might never end
        walk.left_out["pipe or device"] += 1
    elif ending in walk.endings:
        walk.files[name].append(path)
    else:
        walk.left_out[printable(ending) or "no ending"] += 1


def ending_of(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def visible_entries(folder: pathlib.Path, field: str = "data.path") -> list[os.DirEntry]:
    """What a folder holds, by name, but for what is hidden.

    Args:
        field: what the user calls the folder, for errors.

    Raises:
        UserError: a folder that cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if not is_hidden_name(entry.name)),
                key=lambda entry: entry.name,
            )
    except OSError as error:
        raise UserError(
            f"{field}: folder {printable(str(folder))} cannot be read ({error.strerror}); "
            "allowed are folders that you may read"
        ) from None


def is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def identity(folder: pathlib.Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def is_circle(link: pathlib.Path) -> bool:
    """Whether a link leads to a folder that it lies in itself, by the way it was reached or not."""
    own = identity(link)
    above = [*link.absolute().parents, *pathlib.Path(os.path.realpath(link.parent)).parents]
    return own in {identity(folder) for folder in [*above, link.parent]}


def class_folders(folder: pathlib.Path) -> dict[str, list[str]]:
    """Class names and their folders, sorted; hidden ones are none of ours.

    One name may be written with different bytes ("é" as one character or as two): it is one class.
    """
    found: dict[str, list[str]] = {}
    for name in folder_names(folder):
        found.setdefault(class_name(name), []).append(name)
    return dict(sorted(found.items()))


def folder_names(folder: pathlib.Path) -> list[str]:
    """Folders in a folder, but for what is hidden; none where there is no such folder."""
    if is_bucket(folder):
        return [name for name in subfolders(folder) if not is_hidden_name(name)]
    if not folder.is_dir():
        return []
    return [entry.name for entry in visible_entries(folder) if is_folder(entry)]


def class_name(folder_name: str) -> str:
    return unicodedata.normalize("NFC", printable(folder_name))


def note_beside(walk: Walk, folder: pathlib.Path) -> None:
    """Notes what lies in a folder of class folders, in none of them: pictures, links to nothing."""
    if is_bucket(folder):
        return
    others = [entry for entry in visible_entries(folder, walk.field) if not is_folder(entry)]
    walk.beside += [x.name for x in others if ending_of(x.name) in walk.endings]
    rest = [x for x in others if ending_of(x.name) not in walk.endings]
    # First, since it may be a class whose disk is not there.
    walk.to_nothing[:0] = [x.name for x in rest if not os.path.exists(x)]


def subfolder(root: pathlib.Path, name: str) -> pathlib.Path:
    """The folder of that name, else the one whose name differs in case alone: "Train"."""
    if (root / name).is_dir():
        return root / name
    alike = (x for x in folder_names(root) if x.casefold() == name.casefold())
    return root / next(alike, name)


def tell(walk: Walk, root: pathlib.Path, wanted: str = "pictures") -> None:
    """Says once what of a folder is not read."""
    for line in lines_of(walk, wanted):
        line = f"{walk.field}: {printable(str(root))}: {line}"
        if line not in told:
            told.add(line)
            logger.warning("%s", line)


def lines_of(walk: Walk, wanted: str) -> Iterator[str]:
    if walk.left_out:
        total = walk.left_out.total()
        files = "1 file" if total == 1 else f"{total} files"
        yield f"{files} left out, no {wanted}: {walk.kinds_left_out()}"
    if walk.beside:
        first = printable(walk.beside[0])
        yield f"{len(walk.beside)} {wanted} left out, which lie in no class folder, such as {first}"
    if walk.to_nothing:
        yield (
            f"{len(walk.to_nothing)} links left out, which lead to nothing, such as "
            f"{printable(walk.to_nothing[0])}"
        )
    if walk.passed_by:
        count = len(walk.passed_by)
        yield (
            f"{count} links left out, which lead back to folders that are read anyway, such as "
            f"{printable(walk.passed_by[0])}"
        )
