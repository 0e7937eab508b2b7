"""Clips by index: a window of frames at one rate, cropped, and named when they cannot be read.

Letters: T frames of a window, S side in pixels, F frames of a file.
"""

import dataclasses
import os

import numpy as np
from PIL import Image

from lpd_jax.data.clip_folder import FolderClips, ListedClips
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import ImageSource
from lpd_jax.images import LARGEST_SIDE, center_crop, random_crop
from lpd_jax.runtime.arguments import check_choice, check_number, check_whole
from lpd_jax.runtime.clip_files import MOST_FRAMES, UnreadableClip, frame_times, read_frames

LEAST_RATE_SHARE = 0.95  # of the rate asked for: 7.8 a second pass for 8
# WebM and MKV keep whole milliseconds: a frame's time, and where a window begins, are off by some.
ROUNDING_SECONDS = 2e-3
MOST_ROUNDING_SHARE = 0.25  # of the time between two frames


@dataclasses.dataclass(frozen=True)
class ClipWindow:
    """What of a clip is taken: as published for UCF-101, 17 frames at 8 a second."""

    num_frames: int = 17
    frame_rate: float = 8.0

    def __post_init__(self):
        check_whole("num_frames", self.num_frames, 1, MOST_FRAMES)
        rate = check_number("frame_rate", self.frame_rate, 0.01, 1000)
        object.__setattr__(self, "frame_rate", rate)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (self.num_frames - 1) / self.frame_rate

    def frames(self, times_F: np.ndarray, place: float = 0.5) -> np.ndarray:
        """Numbers of the frames that a player shows at the times of the window, int `[T]`.

        Args:
            times_F: when each frame of the file appears; see `frame_times`.
            place: of the window, 0 at the start of the clip to 1 at its end.

        Raises:
            UnreadableClip: a clip that is too short, or has too few frames a second.
        """
        last = float(times_F[-1])
        rate = (len(times_F) - 1) / last if last else self.frame_rate
        gap = float(np.median(np.diff(times_F))) if last else 0.0
        length = last + gap
        if self.num_frames > 1 and length <= self.seconds:
            raise UnreadableClip(
                f"got {length:.3g} seconds, allowed are more than {self.seconds:.3g}: "
                f"{self.num_frames} frames at {self.frame_rate:g} a second"
            )
        if self.num_frames > 1 and rate < LEAST_RATE_SHARE * self.frame_rate:
            raise UnreadableClip(
                f"got {rate:.3g} frames a second, allowed are {self.frame_rate:g} and more"
            )
        rounding = min(ROUNDING_SECONDS, MOST_ROUNDING_SHARE * gap)
        room = length - self.seconds
        # The window ends before the clip does.
        start = max(0.0, min(place * room, room - 2 * rounding))
        shown_at_T = start + np.arange(self.num_frames) / self.frame_rate
        found = np.searchsorted(times_F, shown_at_T + rounding, side="right") - 1
        return np.minimum(found, len(times_F) - 1)


class ClipSource(ImageSource):
    """Records `{"image": uint8 [T, S, S, 3], "label": int32 []}`.

    View 0 is the window in the middle, cropped in the middle. Every other is a window and a square
    of its own, the same square in all its frames, mirrored or not.
    """

    noun = "clip"
    problems = "missing, damaged or too short"

    def __init__(
        self,
        clips: FolderClips | ListedClips,
        image_size: int,
        window: ClipWindow | None = None,
        skip_bad: bool = False,
        smallest_crop: float = 1.0,
    ):
        """Args:
        clips: at least one.
        image_size: side S of the crops.
        window: None is the published one.
        skip_bad: give the next readable clip in place of one that cannot be read.
        smallest_crop: share of the short side that a random crop shows at least; 1: all of it,
            anywhere along the long side.
        """
        super().__init__(clips, image_size, skip_bad, smallest_crop=smallest_crop)
        self.window = window or ClipWindow()
        self.frame_rate = self.window.frame_rate
        rate = f"{self.frame_rate:g}"
        self.description += f", {self.window.num_frames} frames at {rate} a second"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.window.num_frames, self.image_size, self.image_size

    @property
    def has_random_views(self) -> bool:
        return True

    def crop(self, content: bytes | np.ndarray) -> np.ndarray:
        frames = self.read_window(content)
        return np.stack([center_crop(frame, self.image_size) for frame in frames])

    def random_view(self, content: bytes | np.ndarray, view: int) -> np.ndarray:
        rng = np.random.default_rng(view)
        frames = self.read_window(content, rng.random())
        is_mirrored, key = rng.random() < 0.5, int(rng.integers(2**32))
        sizes = (self.image_size, self.smallest_crop)
        clip_THWC = np.stack(
            [random_crop(frame, *sizes, np.random.default_rng(key)) for frame in frames]
        )
        return np.ascontiguousarray(clip_THWC[:, :, ::-1]) if is_mirrored else clip_THWC

    def read_window(self, content: bytes | np.ndarray, place: float = 0.5) -> list[Image.Image]:
        assert isinstance(content, bytes | os.PathLike)
        indices = self.window.frames(frame_times(content), place)
        return [Image.fromarray(frame_HWC) for frame_HWC in read_frames(content, indices.tolist())]


def open_clips(
    path: str,
    split: str,
    *,
    size: int = 128,
    window: ClipWindow | None = None,
    lists: str = "",
    list_number: int = 1,
    validation_share: float = 0.05,
    skip_bad: bool = False,
    smallest_crop: float = 1.0,
) -> ClipSource:
    """One split of a folder of class folders of clips.

    Args:
        path: the folder; see `FolderClips`.
        split: "train" or "validation".
        size: side in pixels of the crops.
        window: frames and their rate; None is the published 17 at 8 a second.
        lists: the folder of UCF-101's lists, which then say what belongs to which split.
        list_number: which of its three splits.
        validation_share: of the clips, where neither lists nor folders say.
        skip_bad, smallest_crop: of `ClipSource`.

    Raises:
        UserError: no such folder or lists, or a class without clips.
    """
    check_choice("split", split, ("train", "validation"))
    check_whole("size", size, 1, LARGEST_SIDE)
    clips: FolderClips | ListedClips
    if lists:
        clips = ListedClips(path, lists, split, list_number)
    else:
        clips = FolderClips(path, split, validation_share=validation_share)
    return ClipSource(clips, size, window, skip_bad, smallest_crop)


def open_dataset(
    config: DataConfig, split: str, own_name: str, size: int, skip_bad: bool
) -> ClipSource:
    """The clips of a config; arguments of `open_images`, which asks for them."""
    clips: FolderClips | ListedClips
    if config.lists:
        clips = ListedClips(config.path, config.lists, split, config.list_number)
    else:
        names = (own_name, config.train_split)
        clips = FolderClips(config.path, split, *names, config.validation_share)
    window = ClipWindow(config.num_frames, config.frame_rate)
    return ClipSource(clips, size, window, skip_bad, config.random_crop)
