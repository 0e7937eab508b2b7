"""Sets of clips to judge: a folder, UCF-101 by its lists, an .npz. Clips come by their numbers.

Letters: B clips, T frames, S side in pixels.
"""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from lpd_jax.data.clip_folder import ListedClips, source_of
from lpd_jax.data.clips import ClipWindow
from lpd_jax.evaluation.file_lists import files_with, what_is
from lpd_jax.evaluation.picture_sets import (
    SPLITS,
    ArraySet,
    PictureSet,
    check_uncut,
    first_pictures,
    parts_of,
    preprocessing,
)
from lpd_jax.images import LARGEST_SIDE, center_crop
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.clip_files import ENDINGS, UnreadableClip, frame_times, read_frames
from lpd_jax.runtime.errors import UserError, shown, shown_path

CLIPS_AT_ONCE = 8
MIDDLE, RANDOM = WINDOWS = ("middle", "random")
SEED = 0  # of windows, and of which clips are taken where not all are
WHAT = (
    "allowed are a folder of clips, and an .npz with arr_0 uint8 [clips, frames, height, width, 3]"
)


@dataclasses.dataclass(frozen=True)
class ClipChoices:
    """What is taken of clips in files, and of which.

    num_frames, frame_rate: of the window, 17 at 8 a second as published for UCF-101.
    window: "middle" of each clip, as NBP takes it, or "random", as StyleGAN-V does.
    lists: the folder of UCF-101's lists; "" takes all clips below the folder.
    list_number: which of its three splits.
    split: "train" or "validation", where there are lists.
    """

    num_frames: int = 17
    frame_rate: float = 8.0
    window: str = MIDDLE
    lists: str = ""
    list_number: int = 1
    split: str = SPLITS[0]

    def __post_init__(self) -> None:
        ClipWindow(self.num_frames, self.frame_rate)
        check_choice("window", self.window, WINDOWS)
        check_choice("split", self.split, SPLITS)


class ClipFiles(Protocol):
    """Clips by number; `ListedClips` is one."""

    description: str

    def __len__(self) -> int: ...

    def load(self, index: int) -> tuple[Any, int]: ...

    def name(self, index: int) -> str: ...


class ClipsBelow:
    """All clip files below a folder, in the order of their paths; hidden folders are left out."""

    def __init__(self, folder: Any, field: str):
        self.folder = folder
        self.files, digest = files_with(folder, ENDINGS, field, "clips")
        if not self.files:
            raise UserError(f"{field}: got {shown_path(folder)}, which holds no clips; {WHAT}")
        self.description = f"all below the folder, files {digest}"

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> tuple[Any, int]:
        return source_of(self.folder / self.files[index]), 0

    def name(self, index: int) -> str:
        return str(self.folder / self.files[index])


class Looked(NamedTuple):
    """What came out of looking at a file."""

    frames_T: np.ndarray | None = None  # numbers of the frames of its window
    dropped: str = ""  # why there is no such window


class ClipSet(PictureSet):
    """Windows of clip files, squares of their middle; those that are too short are left out.

    All files are looked at before the first clip is given, so that their number is known, and
    what is damaged is found before anything is computed.
    """

    def __init__(
        self,
        files: ClipFiles,
        folder: str,
        image_size: int,
        choices: ClipChoices,
        num_clips: int = 0,
        field: str = "pictures",
    ):
        """Args:
        files: clips by number.
        folder: what the user calls them.
        image_size: side of ADM's centre crop of each frame.
        choices: of the window.
        num_clips: so many, taken at random; 0 is all.
        field: what the user calls the folder.

        Raises:
            UserError: a damaged clip, or fewer than two, or than asked for, that are long enough.
        """
        check_whole("image_size", image_size, 1, LARGEST_SIDE)
        self.files, self.folder, self.field = files, folder, field
        self.image_size, self.choices = image_size, choices
        self.window = ClipWindow(choices.num_frames, choices.frame_rate)
        self.size = (choices.num_frames, image_size, image_size)
        self.chosen = "all" if not num_clips else f"at random, seed {SEED}"
        order = np.arange(len(files))
        if num_clips:
            order = np.random.default_rng(SEED).permutation(order)
        self.found: list[tuple[int, np.ndarray]] = []  # number of the file, frames of its window
        self.dropped: list[str] = []
        self.look_at(order, num_clips or len(files))
        self.count = len(self.found)
        if self.count < max(2, num_clips):
            why = f"; of those left out the first is {self.dropped[0]}" if self.dropped else ""
            raise UserError(
                f"{field}: got {shown_path(folder)} of {self.count} clips that are long enough, "
                f"allowed are {max(2, num_clips)} and more{why}"
            )

    def look_at(self, order: np.ndarray, wanted: int) -> None:
        """Fills `found` and `dropped`, file by file in this order, until there are enough."""
        workers = os.cpu_count() or 1
        # None: shown where standard error is a terminal.
        with (
            concurrent.futures.ThreadPoolExecutor(workers) as pool,
            tqdm(total=wanted, unit="clip", desc="clips", disable=None) as bar,
        ):
            for start in range(0, len(order), 4 * workers):
                rows = order[start : start + 4 * workers].tolist()
                for row, looked in zip(rows, pool.map(self.look, rows), strict=True):
                    if looked.frames_T is None:
                        self.dropped.append(f"{self.files.name(row)} ({looked.dropped})")
                        continue
                    self.found.append((row, looked.frames_T))
                    bar.update()
                    if len(self.found) == wanted:
                        return

    def look(self, row: int) -> Looked:
        try:
            times_F = frame_times(self.files.load(row)[0])
        except (OSError, UnreadableClip) as error:
            raise self.named(row, error) from None
        place = 0.5
        if self.choices.window == RANDOM:
            place = np.random.default_rng([SEED, row]).random()
        try:
            return Looked(self.window.frames(times_F, place))
        except UnreadableClip as error:
            return Looked(dropped=str(error))

    def named(self, row: int, error: Exception) -> UserError:
        problem = " ".join(str(error).split()) or type(error).__name__
        return UserError(f"{self.field}: got {shown_path(self.files.name(row))}: {problem}")

    def settings(self) -> dict[str, Any]:
        return {
            "pictures": self.folder,
            "split": self.files.description,
            "count": self.count,
            "chosen": self.chosen,
            "too_short": len(self.dropped),
            "size": list(self.size),
            "frame_rate": self.choices.frame_rate,
            "window": self.choices.window,
            "preprocessing": preprocessing(self.image_size),
        }

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        for part in parts_of(rows, CLIPS_AT_ONCE):
            yield np.stack([self.read(row) for row in part])

    def read(self, row: int) -> np.ndarray:
        """One clip, uint8 `[T, S, S, 3]`."""
        file, frames_T = self.found[row]
        try:
            frames = read_frames(self.files.load(file)[0], frames_T.tolist())
        except (OSError, UnreadableClip) as error:
            raise self.named(file, error) from None
        name = f"{self.field}: {self.files.name(file)}"
        cut = [center_crop(Image.fromarray(frame), self.image_size, name) for frame in frames]
        return np.stack(cut)


def check_same_images(
    real: Any, judged: Mapping[str, Any], reference: str, field: str = "reference"
) -> None:
    """Raises UserError for a reference of another size than what is judged; of clips, length, rate.

    Args:
        real: what the reference says of its pictures or clips.
        judged: the same of those that are judged.
        reference: what the user calls it.
        field: that holds it, for errors.
    """
    if not isinstance(real, dict):
        return
    noun, sizes = "pictures", "height and width"
    if len(judged["size"]) == 3:
        noun, sizes = "clips", f"frames, {sizes}"
    for name, words in (("size", sizes), ("frame_rate", "frames a second")):
        got, wanted = real.get(name), judged.get(name)
        if got is not None and wanted is not None and got != wanted:
            raise UserError(
                f"{field}: got {shown_path(reference)} of {noun} of {shown(got)} {words}, allowed "
                f"are {shown(wanted)}, as those that are judged"
            )


def open_clip_set(
    name: str,
    *,
    image_size: int = 0,
    choices: ClipChoices | None = None,
    num_clips: int = 0,
    field: str = "pictures",
) -> PictureSet:
    """Clips by what a user calls them.

    Args:
        name: a folder, or an .npz with `arr_0` uint8 `[B, T, H, W, 3]`, whose clips are taken as
            they are.
        image_size: side of the crop; a folder needs one.
        choices: of windows in files; None is the published one.
        num_clips: of a folder so many at random, of an .npz the first ones; 0 is all.
        field: what the user calls it.

    Raises:
        UserError: none of these, a damaged clip, or fewer than asked for.
    """
    choices = choices or ClipChoices()
    place = located(field, name) if name else None
    if place is not None and place.is_dir():
        if not image_size:
            raise UserError("image_size: got 0, allowed for a folder of clips is a side in pixels")
        files: ClipFiles = ClipsBelow(place, field)
        if choices.lists:
            files = ListedClips(name, choices.lists, choices.split, choices.list_number)
        return ClipSet(files, name, image_size, choices, num_clips, field)
    if place is not None and place.suffix == ".npz" and place.is_file():
        array = ArraySet(place, field)
        if len(array.size) != 3:
            raise UserError(f"{field}: got {shown_path(name)}, which holds pictures; {WHAT}")
        check_uncut(image_size)
        return first_pictures(array, num_clips, name, field)
    raise UserError(f"{field}: {what_is(name, place)}; {WHAT}")
