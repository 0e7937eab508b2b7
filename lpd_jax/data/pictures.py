"""Images by index: decoded, cropped as ADM crops them, and named when they cannot be read."""

import functools
import logging
import threading
from typing import Any, Protocol

import numpy as np
from PIL import Image

from lpd_jax.bundled import CLASS_NAMES, IMAGE_SIZE, load_avatars
from lpd_jax.data.data_config import CLIP_DATASETS, DataConfig
from lpd_jax.data.image_folder import FolderPictures
from lpd_jax.data.tfds_pictures import TfdsPictures
from lpd_jax.images import LARGEST_SIDE, adm_center_crop, center_crop, random_crop
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.runtime.disk_faults import OF_READING, DiskError
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.picture_files import large_ones_in_turn, read_picture

RANDOM_VIEWS = 2**31  # so many that hardly a crop comes twice
logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # heard where others are told to report errors only


class BadImage(UserError):  # noqa: N818 - what it says of itself
    """A picture is missing, damaged, too large or too thin; its argument names it and says why."""

    def __str__(self) -> str:
        return f"{self.args[0]}; replace it, or go on without it: data.bad_images=skip"


class Pictures(Protocol):
    """Pictures as a dataset stores them: in a file's bytes, or as pixels uint8 `[H, W, 3]`."""

    num_classes: int
    class_names: tuple[str, ...]  # one a class, or none
    description: str  # of equal datasets equal, of others another

    def __len__(self) -> int: ...

    def load(self, index: int) -> tuple[bytes | np.ndarray, int]:
        """A picture and its label; an OSError if it is not there."""
        ...

    def name(self, index: int) -> str:
        """What to call the picture in an error."""
        ...


class ImageSource:
    """Records `{"image": uint8 [S, S, 3], "label": int32 []}`; view 1 is the mirrored image.

    With a `smallest_crop` below 1 each view but 0 is a random crop of its own, mirrored or not.

    Attributes:
        num_classes: labels are below it.
        class_names: one a class, or none.
        num_views: 2, or, of random crops, many.
        description: of the pictures as they are read; of equal ones equal.
        bad_images: index to message of those skipped so far.
    """

    noun = "image"
    problems = "missing or damaged"
    frame_rate: float | None = None  # of clips in files

    def __init__(
        self,
        pictures: Pictures,
        image_size: int,
        skip_bad: bool = False,
        exif: str = "upright",
        smallest_crop: float = 1.0,
    ):
        """Args:
        pictures: at least one.
        image_size: side S of the centre crop.
        skip_bad: give the next readable picture in place of one that cannot be read.
        exif: "upright" turns pictures as their cameras noted; "stored" does not.
        smallest_crop: share of the short side that a random crop shows at least.
        """
        self.smallest_crop = smallest_crop
        self.num_views = RANDOM_VIEWS if self.has_random_views else 2
        self.pictures, self.image_size, self.skip_bad = pictures, image_size, skip_bad
        self.exif = exif
        self.num_classes, self.class_names = pictures.num_classes, pictures.class_names
        self.bad_images: dict[int, str] = {}
        stored = ", EXIF turns ignored" if exif == "stored" else ""
        self.description = pictures.description + stored
        self.lock = threading.Lock()  # several threads read ahead

    def __getstate__(self) -> dict[str, Any]:
        """For another process: all but the lock."""
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width) of each image, or (frames, height, width)."""
        return self.image_size, self.image_size

    @property
    def has_random_views(self) -> bool:
        """Whether each view but 0 is another crop."""
        return self.smallest_crop < 1

    def __len__(self) -> int:
        return len(self.pictures)

    def contents(self) -> str:
        """Digest of what tells files from others of the same names; "" where none is known."""
        digest = getattr(self.pictures, "digest_of_sizes", None)
        return "" if digest is None else digest()

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.view(range(len(self))[index], 0)  # an IndexError ends a loop over the source

    def view(self, index: int, view: int) -> dict[str, np.ndarray]:
        """One record, or where it cannot be read and `skip_bad`, the next that can.

        Raises:
            UserError: a picture cannot be read, or none can.
        """
        for i in range(len(self)):
            try:
                image_HWC, label = self.read((index + i) % len(self), view)
            except BadImage as error:
                if not self.skip_bad:
                    raise
                self.note((index + i) % len(self), error)
                continue
            return {"image": image_HWC, "label": np.asarray(label, np.int32)}
        raise UserError(f"data: got {len(self)} {self.noun}s, of which none can be read")

    def read(self, index: int, view: int = 0) -> tuple[np.ndarray, int]:
        """Image uint8 `[S, S, 3]` and label of exactly this record.

        Raises:
            BadImage: it is missing or damaged.
            DiskError: nothing is wrong with it; where bad ones are skipped, all would be.
        """
        try:
            content, label = self.pictures.load(index)
            if view and self.has_random_views:
                return self.random_view(content, view), label
            image_HWC = self.crop(content)
            return np.ascontiguousarray(image_HWC[:, ::-1]) if view else image_HWC, label
        except (OSError, ValueError, MemoryError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            name = self.pictures.name(index)
            if self.disk_is_at_fault(error, index):
                raise DiskError(
                    f"{self.noun} {name}: could not be read ({problem}), and others neither"
                ) from None
            raise BadImage(f"{self.noun} {name}: {self.problems} ({problem})") from None

    def disk_is_at_fault(self, error: Exception, index: int) -> bool:
        """Whether it is the disk, or a limit of the machine, that a picture cannot be read."""
        if not isinstance(error, OSError):
            return False
        is_gone = getattr(self.pictures, "is_gone", None)
        return error.errno in OF_READING or (is_gone is not None and is_gone(index))

    def crop(self, content: bytes | np.ndarray) -> np.ndarray:
        """The centre crop of a file's bytes or of pixels, uint8 `[S, S, 3]`."""
        size = (self.image_size, self.image_size)
        if isinstance(content, np.ndarray):
            same = content.shape[:2] == size  # what the crop gives too, at some cost
            return content if same else adm_center_crop(content, self.image_size)
        with large_ones_in_turn(content):
            image = read_picture(content, exif=self.exif)
            return np.asarray(image) if image.size == size else center_crop(image, self.image_size)

    def random_view(self, content: bytes | np.ndarray, view: int) -> np.ndarray:
        """A random crop, mirrored or not; `view` decides which."""
        rng = np.random.default_rng(view)
        crop = functools.partial(
            random_crop, size=self.image_size, smallest=self.smallest_crop, rng=rng
        )
        if isinstance(content, np.ndarray):
            image_HWC = crop(Image.fromarray(content))
        else:
            with large_ones_in_turn(content):
                image_HWC = crop(read_picture(content, exif=self.exif))
        return np.ascontiguousarray(image_HWC[:, ::-1]) if rng.random() < 0.5 else image_HWC

    def note(self, index: int, error: BadImage) -> None:
        """Counts a picture that is skipped, and logs it the first time."""
        with self.lock:
            is_new = index not in self.bad_images
            self.bad_images[index] = error.args[0]
        if is_new:
            logger.warning("skipped %s; %d so far", error.args[0], len(self.bad_images))


class AvatarPictures:
    """The bundled avatars."""

    num_classes = len(CLASS_NAMES)
    class_names: tuple[str, ...] = CLASS_NAMES

    def __init__(self, split: str):
        self.images_BHWC, self.labels_B = load_avatars(split)
        self.split = split
        self.description = f"avatars12 {split}"

    def __len__(self) -> int:
        return len(self.labels_B)

    def load(self, index: int) -> tuple[np.ndarray, int]:
        return self.images_BHWC[index], int(self.labels_B[index])

    def name(self, index: int) -> str:
        return f"avatars12/{self.split}[{index}]"


def image_size(config: DataConfig) -> int:
    """Side in pixels of the images; only the bundled ones have a size of their own."""
    return config.image_size or IMAGE_SIZE


def image_shape(config: DataConfig) -> tuple[int, ...]:
    """(height, width) of the images, or (frames, height, width) of clips."""
    are_clips = config.dataset in CLIP_DATASETS and config.num_frames
    frames = (config.num_frames,) if are_clips else ()
    return (*frames, image_size(config), image_size(config))


def open_images(config: DataConfig, split: str, size: int = 0) -> ImageSource:
    """One split of a dataset of images, or of clips.

    Args:
        config: the dataset.
        split: "train" or "validation"; the config says what the dataset calls them.
        size: of the centre crop, in place of the config's.

    Raises:
        UserError: a dataset that is not there, is empty, or has no such split.
    """
    if not isinstance(config, DataConfig):
        raise UserError(f"config: got {shown(config)}, allowed is a DataConfig")
    check_choice("split", split, ("train", "validation"))
    check_whole("size", size, 0, LARGEST_SIDE)
    own_name = {"train": config.train_split, "validation": config.validation_split}[split]
    skips, size = config.bad_images == "skip", size or image_size(config)
    if config.dataset == "clips":
        from lpd_jax.data import clips  # which are pictures, and more

        return clips.open_dataset(config, split, own_name, size, skips)
    if config.dataset == "moving_avatars":
        from lpd_jax.data.moving_avatars import MovingAvatars

        return MovingAvatars(split, config.num_frames)
    pictures: Pictures
    if config.dataset == "avatars12":
        pictures = AvatarPictures(split)
    elif config.dataset == "folder":
        share = config.validation_share
        pictures = FolderPictures(config.path, split, own_name, config.train_split, share)
    elif config.dataset == "tfds":
        pictures = TfdsPictures(config.name, config.path, own_name or split)
    else:
        raise UserError(
            f"data.dataset: got {shown(config.dataset)}, which holds no images; allowed are "
            "avatars12, moving_avatars, tfds, folder and clips"
        )
    if not len(pictures):
        raise UserError(f"data: got {pictures.description}, which holds no images")
    return ImageSource(pictures, size, skips, config.exif, config.random_crop)
