"""Clips made at run time of the bundled avatars: which face moves, and how, is the class.

Faces of three styles bounce off the edges, roll on the floor, swing, or turn round and show another
face at their back: 12 classes. Direction, speed and phase are drawn for each clip: only the frames
before say how it goes on, and which face comes back. A clip depends on its split, number and view
alone.

Letters: T frames of a clip, H W pixels, C channels.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lpd_jax.bundled import CLASS_NAMES, IMAGE_SIZE, load_avatars
from lpd_jax.data.avatar_motions import MOTIONS, RADIUS, Pose
from lpd_jax.data.pictures import ImageSource
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.runtime.clip_files import MOST_FRAMES

TILES = "funEmoji"  # faces that fill their pictures, and are cut to discs
STYLES = (TILES, "bigEars", "bigSmile")  # the others stand free
NAMES = tuple(f"{style} {motion}" for style in STYLES for motion in MOTIONS)
SPLIT_NUMBERS = {"train": 0, "validation": 1}
FACE_SHARE = 0.78  # of the side of a picture, where a face stands free
NARROWEST = 0.05  # of its width that one sees of a face from the side
FINER = 4  # samples of an edge's pixel along each axis
BACKGROUNDS = (  # those of faces that stand free
    (182, 227, 244),
    (192, 174, 222),
    (209, 212, 249),
    (255, 213, 220),
    (255, 223, 191),
    (255, 255, 255),
)


class Faces(NamedTuple):
    """The faces of one style."""

    pictures: list[np.ndarray]  # uint8 [H, W, C] each
    background_F: np.ndarray  # which of BACKGROUNDS each has; of tiles it is drawn


class MovingAvatars(ImageSource):
    """Records `{"image": uint8 [T, 64, 64, 3], "label": int32 []}`.

    In training each face moves in every way, in validation in one. View 0 is the clip itself; in
    every other the same face moves likewise by numbers of its own.
    """

    noun = "clip"
    num_classes = len(NAMES)
    class_names = NAMES

    def __init__(self, split: str, num_frames: int = 17):
        """Args:
        split: "train", 10,800 clips, or "validation", 300; of the faces of that split.
        num_frames: T; 0 gives pictures in place of clips, the first frame of each.
        """
        check_choice("split", split, tuple(SPLIT_NUMBERS))
        self.num_frames = check_whole("num_frames", num_frames, 0, MOST_FRAMES)
        self.split, self.styles = split, read_faces(split)
        self.description = f"moving_avatars {split}, {num_frames} frames"
        super().__init__(self, IMAGE_SIZE)

    @property
    def shape(self) -> tuple[int, ...]:
        frames = (self.num_frames,) if self.num_frames else ()
        return *frames, self.image_size, self.image_size

    @property
    def has_random_views(self) -> bool:
        return True

    def __len__(self) -> int:
        num_faces = sum(len(faces.pictures) for faces in self.styles)
        return num_faces * (len(MOTIONS) if self.split == "train" else 1)

    def name(self, index: int) -> str:
        return f"moving_avatars/{self.split}[{index}]"

    def load(self, index: int) -> tuple[np.ndarray, int]:
        return self.read(index)

    def read(self, index: int, view: int = 0) -> tuple[np.ndarray, int]:
        """Clip and label of a record; view 0 is the clip itself."""
        rng = np.random.default_rng([SPLIT_NUMBERS[self.split], index, view])
        # Neighbours are of other classes, so that a few records show all.
        label = index % self.num_classes
        style, motion = divmod(label, len(MOTIONS))
        face = index // self.num_classes
        if self.split == "validation":
            face = face * len(MOTIONS) + motion
        poses = list(MOTIONS.values())[motion](rng, self.num_frames or 1)
        faces = self.styles[style]
        clip_THWC = draw_clip(pick_sides(rng, faces, face % len(faces.pictures), style), poses)
        return clip_THWC if self.num_frames else clip_THWC[0], label


def pick_sides(
    rng: np.random.Generator, faces: Faces, face: int, style: int
) -> tuple[np.ndarray, np.ndarray]:
    """A face, and one for its back, which is another; both on one background."""
    background = faces.background_F[face]
    others = np.flatnonzero(faces.background_F == background)
    back = int(rng.choice(others[others != face]))
    front_and_back = faces.pictures[face], faces.pictures[back]
    if STYLES[style] != TILES:
        return front_and_back
    color = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    front, back_HWC = (cut_disc(picture_HWC, color) for picture_HWC in front_and_back)
    return front, back_HWC


def cut_disc(picture_HWC: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """The disc in the middle of a picture, as wide as faces that stand free, on a background."""
    mask, share = disc_mask(), FACE_SHARE
    side = round(IMAGE_SIZE * share)
    small = Image.fromarray(picture_HWC).resize((side, side), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), color)
    canvas.paste(small, ((IMAGE_SIZE - side) // 2,) * 2, mask)
    return np.asarray(canvas)


@functools.cache
def disc_mask() -> Image.Image:
    """How much of each pixel a disc covers."""
    side = round(IMAGE_SIZE * FACE_SHARE)
    fine = Image.new("L", (side * FINER, side * FINER))
    ImageDraw.Draw(fine).ellipse((0, 0, side * FINER - 1, side * FINER - 1), fill=255)
    return fine.resize((side, side), Image.Resampling.BOX)


def draw_clip(sides: tuple[np.ndarray, np.ndarray], poses: list[Pose]) -> np.ndarray:
    """The frames of a face, uint8 `[T, 64, 64, 3]`.

    Args:
        sides: front and back, uint8 `[64, 64, 3]`, the face as large as `FACE_SHARE` says.
        poses: one a frame.
    """
    color = tuple(int(value) for value in sides[0][0, 0])
    side = round(2 * RADIUS / FACE_SHARE)
    small = [Image.fromarray(x).resize((side, side), Image.Resampling.LANCZOS) for x in sides]
    frames = []
    for pose in poses:
        sine, cosine = math.sin(pose.angle), math.cos(pose.angle)
        width = max(abs(pose.width), NARROWEST)
        # From a pixel of the frame back to one of the face.
        x_of = (cosine / width, sine / width)
        y_of = (-sine, cosine)
        rows = []
        for of_x, of_y in (x_of, y_of):
            # Pillow counts from the edges of pixels, poses from their middles.
            shift = side / 2 - of_x * (pose.x + 0.5) - of_y * (pose.y + 0.5)
            rows += [of_x, of_y, shift]
        frames.append(
            small[pose.width < 0].transform(
                (IMAGE_SIZE, IMAGE_SIZE),
                Image.Transform.AFFINE,
                rows,
                Image.Resampling.BICUBIC,
                fillcolor=color,
            )
        )
    return np.stack([np.asarray(frame) for frame in frames])


@functools.cache
def read_faces(split: str) -> list[Faces]:
    """The faces of each style."""
    images_BHWC, labels_B = load_avatars(split)
    styles = []
    for style in STYLES:
        pictures_FHWC = images_BHWC[labels_B == CLASS_NAMES.index(style)]
        if style == TILES:
            background_F = np.zeros(len(pictures_FHWC), np.int32)
        else:
            corner_FC = pictures_FHWC[:, 0, 0].astype(np.int32)
            apart_FK = np.abs(corner_FC[:, None] - np.array(BACKGROUNDS)[None]).sum(-1)
            background_F = apart_FK.argmin(1)
        styles.append(Faces(list(pictures_FHWC), background_F))
    return styles
