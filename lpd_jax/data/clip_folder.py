"""Files of clips: a folder of class folders, or UCF-101 with the lists of its splits."""

import hashlib
from typing import Any

from lpd_jax.data.image_folder import FolderPictures
from lpd_jax.runtime import clip_files
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.buckets import is_bucket, located, read_bytes
from lpd_jax.runtime.errors import UserError, shown, shown_path

NUM_LISTS = 3  # splits of UCF-101


class FolderClips(FolderPictures):
    """As `FolderPictures`, of the files whose endings are those of clips."""

    noun = "clips"
    endings = clip_files.ENDINGS
    common_endings = clip_files.ENDINGS

    def load(self, index: int) -> tuple[Any, int]:
        return source_of(self.folder / self.files[index]), self.labels[index]


class ListedClips:
    """UCF-101 as its lists split it (Soomro et al., arXiv 1212.0402).

        lists/classInd.txt      "1 ApplyEyeMakeup"
        lists/trainlist01.txt   "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"
        lists/testlist01.txt    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"

    A clip that is listed and not there is a bad clip: reading it says so.
    """

    def __init__(self, root: str, lists: str, split: str, number: int = 1):
        """Args:
        root: the folder of class folders of clips, local or of a bucket.
        lists: the folder of the lists.
        split: "train" or "validation", which is the list called test.
        number: of the split, 1 to 3.

        Raises:
            UserError: lists that are missing, or a line that is none of theirs.
        """
        number = check_whole("number", number, 1, NUM_LISTS)
        self.root, self.lists = located("path", root), located("lists", lists)
        known = {name for _, name, *_ in self.rows("classInd.txt", 2)}
        name = "trainlist" if split == "train" else "testlist"
        self.class_names = tuple(sorted(known))
        self.num_classes = len(self.class_names)
        self.files: list[str] = []
        self.labels: list[int] = []
        for file, *_ in self.rows(f"{name}{number:02d}.txt", 1):
            class_name = file.split("/")[0]
            if class_name not in known:
                raise UserError(
                    f"lists: got {shown(file)} in {name}{number:02d}.txt, allowed are files of the "
                    f"classes of classInd.txt, as {self.class_names[0]}/..."
                )
            self.files.append(file)
            self.labels.append(self.class_names.index(class_name))
        listed = "\n".join([*self.class_names, *self.files])
        digest = hashlib.sha256(listed.encode()).hexdigest()[:16]
        self.description = f"{name}{number:02d}, list of files {digest}"
        if not is_bucket(self.root):  # a program may change its folder
            self.root = self.root.absolute()

    def rows(self, file: str, least: int) -> list[list[str]]:
        """The words of each line of a list; UserError where a line has too few."""
        path = self.lists / file
        try:
            text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin it with a mark
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"lists: got {shown_path(self.lists)}, whose {file} cannot be read "
                f"({type(error).__name__}); allowed is the folder of classInd.txt, trainlist01.txt "
                "and the others"
            ) from None
        rows = [line.split() for line in text.splitlines() if line.strip()]
        if not rows or min(map(len, rows)) < least:
            raise UserError(
                f"lists: got a line without {least} words, or no line, in {shown_path(path)}"
            )
        return rows

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[Any, int]:
        return source_of(self.root / self.files[index]), self.labels[index]

    def name(self, index: int) -> str:
        return str(self.root / self.files[index])


def source_of(file: Any) -> Any:
    """What readers of clips take: a local file's path, as a film has gigabytes, or the bytes."""
    return read_bytes(file) if is_bucket(file) else file
