"""Clips to look at: all of them side by side as one film, and as a sheet of their frames.

Letters: B clips, T frames, H height, W width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lpd_jax.generation.picture_sinks import PictureSink, make_folder, tell_of_others
from lpd_jax.images import image_grid, labelled_grid
from lpd_jax.runtime.clip_files import import_av, write_clip

SHEET_PADDING, EDGE = 2, 8  # pixels between frames, and around the rows


def film(clips_BTHWC: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Frames uint8 `[T, H, W, 3]` that show all clips at once, each with its name below it."""
    return np.stack(
        [labelled_grid(frames_BHWC, names) for frames_BHWC in clips_BTHWC.swapaxes(0, 1)]
    )


def contact_sheet(clips_BTHWC: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A picture uint8 `[H, W, 3]`: a row for each clip, its frames from left to right."""
    strips = [image_grid(clip, columns=len(clip), padding=SHEET_PADDING) for clip in clips_BTHWC]
    return labelled_grid(np.stack(strips), names, columns=1, scale=1, padding=EDGE)


class ClipFolder(PictureSink):
    """000000.mp4, 000001.mp4, ..."""

    def __init__(self, folder: Any, frame_rate: float, count: int):
        """Args:
        folder: made where it is not there; clips of the same numbers are replaced.
        frame_rate: frames a second.
        count: clips that will come.

        Raises:
            UserError: a folder that cannot be made or written to, or no PyAV.
        """
        import_av()
        self.folder, self.frame_rate, self.count = folder, frame_rate, 0
        make_folder(folder)
        tell_of_others(folder, count, self.name_of)

    def add(self, images_BHWC: np.ndarray) -> None:
        for clip_THWC in images_BHWC:
            write_clip(self.folder / self.name_of(self.count), clip_THWC, self.frame_rate)
            self.count += 1

    @staticmethod
    def name_of(number: int) -> str:
        """What the file of a clip is called."""
        return f"{number:06d}.mp4"
