"""A folder of class folders of image files: the class is the rank of its folder's name."""

import collections
import hashlib
import os
import pathlib
import re
import unicodedata
import zlib
from collections.abc import Sequence

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.folder_walk import (
    Walk,
    class_folders,
    folder_names,
    is_hidden,
    note_beside,
    subfolder,
    tell,
    walk_classes,
)
from lpd_jax.runtime.atomic_files import path_within
from lpd_jax.runtime.buckets import is_bucket, located
from lpd_jax.runtime.errors import UserError, listed, printable, shown, shown_path
from lpd_jax.runtime.picture_files import endings, read_file

COMMON_ENDINGS = (".jpeg", ".jpg", ".png", ".webp", ".tiff")  # of all that are read
HEIC = re.compile(r"\.hei[cf]\b")  # endings
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation")}
# What folders of splits are called: no classes, where no other folders are beside them.
OF_TRAINING = r"train(ing)?([_ -]?(set|data|images))?"
OF_SPLIT = rf"{OF_TRAINING}|(val|valid|validation|dev|test|testing)([_ -]?(set|data|images))?"
HASHES = 2**32
BINS = 20  # hashes modulo this: the first bin is the share of 0.05 that is the default
PARTS = ("train", "validation", "all")
MOST_ASKED = 1024  # files, for their sizes


class FolderPictures:
    """The files of one split, in the order of their paths.

        root/train/cat/1.jpeg   root/val/cat/7.png      split folders, or
        root/cat/1.jpeg         root/dog/2.webp         class folders alone

    Names of split folders may be in any case, and class folders may hold folders of their own.
    Every file that Pillow reads by its ending is a picture; hidden files and folders are not.

    In the second case a hash of its path decides which split an image belongs to: a share is for
    validation, and stays so whatever other images come or go; of few images one at least, and not
    all of a class where any has more than one. The split "all" has every image. Classes are
    numbered as the training folder's class folders are sorted.
    """

    noun = "images"
    common_endings: tuple[str, ...] = COMMON_ENDINGS

    @property
    def endings(self) -> tuple[str, ...]:
        """Of the names of files that are read."""
        return endings()

    def __init__(
        self,
        root: str,
        split: str,
        own_name: str = "",
        train_name: str = "",
        validation_share: float = 0.05,
    ):
        """Args:
        root: the folder, local or of a bucket.
        split: "train" or "validation".
        own_name: folder of this split, or one of "train", "validation", "all" where there are
            class folders alone; "" is the usual.
        train_name: the same of the training split.
        validation_share: of the images, where there are class folders alone.

        Raises:
            UserError: no such folder, no class folders, or a class without images.
        """
        self.root = located("data.path", root)
        if not self.root.is_dir():
            unpacked = " (an archive has to be unpacked)" if self.root.exists() else ""
            raise UserError(
                f"data.path: got {shown_path(root)}, allowed is a folder of class folders{unpacked}"
            )
        self.folder, part = self.find(split, own_name)
        trained_on = subfolder(self.root, train_name or "train")
        names = class_folders(self.folder if part else trained_on) or class_folders(self.folder)
        self.class_names = tuple(names)
        self.num_classes = len(self.class_names)
        self.files, self.labels = self.list_files()
        if part in ("train", "validation"):
            held_out = held_out_rows(self.files, self.labels, validation_share)
            rows = [i for i in range(len(self.files)) if (i in held_out) == (part == "validation")]
            self.files = [self.files[i] for i in rows]
            self.labels = [self.labels[i] for i in rows]
            if not self.files:
                raise UserError(
                    f"data.path: got {shown_path(root)}, which holds a single file; allowed are 2 "
                    f"{self.noun} or more, one of them for validation"
                )
        names_of_all = "\n".join([*self.class_names, *self.files])
        digest = hashlib.sha256(names_of_all.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.description = f"folder {part or printable(self.folder.name)}, list of files {digest}"
        if not is_bucket(self.root):  # a program may change its folder
            self.root, self.folder = self.root.absolute(), self.folder.absolute()

    def find(self, split: str, own_name: str) -> tuple[pathlib.Path, str]:
        """The folder of class folders, and which part of it is meant: "" if all is this split's."""
        candidates = (own_name,) if own_name else SPLIT_FOLDERS[split]
        for name in candidates:
            if class_folders(folder := subfolder(self.root, name)):
                return folder, ""
        part, classes = own_name or split, class_folders(self.root)
        if not classes:
            problem = self.without_folders()
        elif class_folders(train := subfolder(self.root, "train")):
            problem = f"holds {train}, but no class folders in {shown(candidates[-1])}"
        elif all(map(is_of_split, classes)):
            problem = "holds folders of splits, but no class folders in them"
            if any(class_folders(self.root / name) for names in classes.values() for name in names):
                problem = (
                    f"holds splits, no classes: {listed(classes)}; data.train_split and "
                    "data.validation_split name them"
                )
        elif all(holds_splits(self.root / name) for names in classes.values() for name in names):
            problem = f"holds folders of splits inside of {listed(classes)}"
        elif part not in PARTS:
            problem = f"holds no {shown(part)} with class folders in it"
        else:
            return self.root, part
        raise UserError(
            f"data.path, data.{split}_split: got {shown_path(self.root)}, which {problem}; allowed "
            "are folders 'train' and 'val' of class folders, or class folders alone with a split "
            f"of {', '.join(PARTS)}"
        )

    def without_folders(self) -> str:
        """What is wrong with a root in which there are no folders."""
        note_beside(walk := Walk({}, self.endings), self.root)
        if not walk.beside:
            return f"holds no folders{self.but_others(self.root, [''])}"
        return (
            f"holds {len(walk.beside)} {self.noun} and no folders; move them into one for each "
            f"class, or all into {shown_path(self.root / 'all')}"
        )

    def list_files(self) -> tuple[list[str], list[int]]:
        """Paths below the folder of all images, deeper folders included, and their labels.

        Says once how many other files there are.

        Raises:
            UserError: a class without images, or a folder that is no known class.
        """
        present = class_folders(self.folder)
        if unknown := sorted(set(present) - set(self.class_names)):
            raise UserError(
                f"data.path: got {shown_path(self.folder)}, which holds {shown(unknown[0])}; "
                f"allowed are the class folders of training: {', '.join(self.class_names[:5])} ..."
            )
        names_of_all = [name for names in present.values() for name in names]
        walk = walk_classes(self.folder, names_of_all, self.endings)
        note_beside(walk, self.folder)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        files: list[str] = []
        labels: list[int] = []
        for class_name, names in present.items():
            found = [file for name in names for file in walk.files[name]]
            if not found:
                but = self.but_others(self.folder, names)
                raise UserError(
                    f"data.path: got class folder {printable(str(self.folder / names[0]))}, which "
                    f"holds no {self.noun}{but}; allowed are files ending in {self.known_endings()}"
                )
            files += found
            labels += [numbers[class_name]] * len(found)
        tell(walk, self.folder, self.noun.replace("images", "pictures"))
        return files, labels

    def but_others(self, folder: pathlib.Path, names: Sequence[str]) -> str:
        """What lies in folders without a picture: " but .heic (12)", or nothing.

        iPhones write HEIC, which Pillow reads by a plug-in alone.
        """
        others = walk_classes(folder, names, self.endings).kinds_left_out()
        remedy = "; HEIC has to be converted, to JPEG for one" if HEIC.search(others) else ""
        return f" but {others}{remedy}" if others else ""

    def known_endings(self) -> str:
        others = len(self.endings) - len(self.common_endings)
        return ", ".join(self.common_endings) + (f" and {others} more" if others else "")

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[bytes, int]:
        return read_file(self.folder / self.files[index]), self.labels[index]

    def name(self, index: int) -> str:
        return printable(str(self.folder / self.files[index]))

    def is_gone(self, index: int) -> bool:
        """Whether the folder that a file was found in is gone, as with its disk."""
        folder = self.folder / os.path.dirname(self.files[index])
        return not is_bucket(self.root) and not os.path.isdir(folder)

    def digest_of_sizes(self) -> str:
        """Tells files of the same names apart, copies of them not; "" for those of a bucket.

        Of many files some are asked, spread over all: on a disk far away each takes its time.
        """
        if is_bucket(self.root):
            return ""
        digest = hashlib.sha256()
        for file in self.files[:: -(-len(self.files) // MOST_ASKED)]:
            try:
                size = (self.folder / file).stat().st_size
            except OSError:  # it is named when it is read
                size = -1
            digest.update(f"{size}\n".encode())
        return digest.hexdigest()[:16]


def check_apart(field: str, output: str | os.PathLike, config: DataConfig) -> None:
    """Raises UserError for a folder to write to that would be a class of the data, or part of one.

    The next command would find a class without pictures there, or learn the pictures of a run.
    """
    is_folder = config.dataset in ("folder", "clips") and not config.lists
    if not is_folder or is_bucket(config.path) or is_bucket(output):
        return
    root = located("data.path", config.path)
    names = [config.train_split, config.validation_split, *SPLIT_FOLDERS["validation"], "train"]
    splits = [subfolder(root, name) for name in names if name]
    for folder in [split for split in splits if class_folders(split)] or [root]:
        inside = path_within(located(field, output), folder)
        if inside is not None and not is_hidden(inside):
            raise UserError(
                f"{field}: got {shown_path(output)}, which would be a class of the data in "
                f"{shown_path(folder)}; allowed is a folder outside of it"
            )


def is_of_split(name: str) -> bool:
    """Whether a folder is called as splits are: "val", "Training", "test_set"."""
    return re.fullmatch(OF_SPLIT, name.casefold()) is not None


def holds_splits(folder: pathlib.Path) -> bool:
    """Whether a folder holds the split of training and another: it is no class then."""
    splits = [name.casefold() for name in folder_names(folder) if is_of_split(name)]
    of_training = [name for name in splits if re.fullmatch(OF_TRAINING, name)]
    return 0 < len(of_training) < len(splits)


def held_out_rows(files: Sequence[str], labels: Sequence[int], share: float) -> set[int]:
    """Which images are for validation: those whose hash is in the share, of two or more one.

    A class of which all would be keeps one to learn from.
    """
    places, counts = [place_of(file) for file in files], collections.Counter(labels)
    rows = {i for i, place in enumerate(places) if place < share}
    left = counts - collections.Counter(labels[i] for i in rows)
    # From the last place on, as those that a smaller share would not hold out.
    for i in sorted(rows, key=lambda row: places[row], reverse=True):
        if not left[labels[i]]:
            rows.remove(i)
            left[labels[i]] = 1
    if rows or len(files) < 2:
        return rows
    of_more = [i for i, label in enumerate(labels) if counts[label] > 1]
    return {min(of_more or range(len(files)), key=lambda row: places[row])}


def place_of(file: str) -> float:
    """From 0 to 1 by the hash of a path: images below the share are for validation."""
    # One name has one form here, whatever bytes the disk has for it.
    name = unicodedata.normalize("NFC", file.replace(os.sep, "/"))
    hashed = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    return (hashed % BINS + (hashed // BINS) / (HASHES / BINS)) / BINS
