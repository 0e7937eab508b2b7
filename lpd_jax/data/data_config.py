"""Which images a run learns from, and how they are read: the section `data` of a config."""

import dataclasses

from lpd_jax.images import LARGEST_SIDE
from lpd_jax.models.tokenizer_family import ENCODE_PRECISIONS, EXACT
from lpd_jax.runtime.config_fields import check_types, later_field
from lpd_jax.runtime.errors import UserError, shown

MOST_THREADS = 1024
DATASETS = ("avatars12", "moving_avatars", "tfds", "folder", "clips", "tokens")
CLIP_DATASETS = ("moving_avatars", "clips")
BAD_IMAGES = ("fail", "skip")
EXIF = ("upright", "stored")
# Fields of DataConfig that a dataset must have, and those that mean nothing to it.
REQUIRED = {
    "tfds": ("name", "image_size"),
    "folder": ("path", "image_size"),
    "clips": ("path", "image_size"),
    "tokens": ("path",),
}
UNUSED = {
    "avatars12": ("name", "path", "train_split", "validation_split", "lists"),
    "moving_avatars": ("name", "path", "train_split", "validation_split", "image_size", "lists"),
    "tfds": ("lists",),
    "folder": ("name", "lists"),
    "clips": ("name",),
    "tokens": ("name", "image_size", "lists"),
}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images to train on, and how to read them.

    Attributes:
        dataset: "avatars12", the bundled pictures; "moving_avatars", clips made of them; "tfds", a
            prepared TensorFlow dataset; "folder", a folder of class folders of images; "clips", the
            same of clips; "tokens", a token cache that launch/cache_tokens.py made.
        name: of the TFDS dataset: "imagenet2012", "imagenet2012:5.1.0".
        path: the root folder or the token cache, local or of a bucket; or the data_dir of TFDS (""
            is its default), a local one.
        train_split: "" is "train". TFDS takes its slices too: "train[:90%]".
        validation_split: "" is "validation"; of a folder the subfolder "val" or "validation".
        validation_share: of a folder without split folders: how much of it is for validation.
        image_size: side in pixels of the ADM centre crop; 0 leaves the bundled ones as they are.
        random_views: train on a random view of each image, a new one in each epoch: itself or
            its mirror; of a cache with ten crops, one of the ten.
        random_crop: with `random_views`, and for tokenizers only: a view is also cut anywhere, a
            square of this share of the short side up to all of it (0.8 as published). 1: it is
            the centre crop.
        bad_images: "fail" at an image that is missing, damaged, too large or too thin, or "skip":
            it is named once in the log, and the next readable image takes its place.
        exif: "upright" turns images as their cameras noted, and brings their colours to sRGB by the
            profile that they hold; "stored" does neither, as ADM did.
        encode_precision: of the products that make tokens of images, "float32" (exact),
            "tensorfloat32" or "bfloat16"; CPUs have the first alone.
        num_threads: that read batches ahead; 0 reads while the training waits.
        num_frames: of clips, how many a window has; 0, with "moving_avatars", gives pictures, the
            first frame of each.
        frame_rate: of clips, how many of them a second.
        lists: of clips, the folder of UCF-101's lists, which say what is of which split.
        list_number: which of its three splits.
    """

    dataset: str = "avatars12"
    name: str = ""
    path: str = ""
    train_split: str = ""
    validation_split: str = ""
    validation_share: float = 0.05
    image_size: int = 0
    random_views: bool = False
    random_crop: float = 1.0
    bad_images: str = "fail"
    exif: str = "upright"
    encode_precision: str = EXACT
    num_threads: int = 8
    num_frames: int = later_field(17)
    frame_rate: float = later_field(8.0)
    lists: str = later_field("")
    list_number: int = later_field(1)

    def __post_init__(self):
        check_types(self, "data")
        choices = {
            "dataset": DATASETS,
            "bad_images": BAD_IMAGES,
            "exif": EXIF,
            "encode_precision": ENCODE_PRECISIONS,
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise UserError(
                    f"data.{field}: got {shown(getattr(self, field))}, allowed are "
                    f"{', '.join(allowed)}"
                )
        if not 0 < self.validation_share < 1:
            raise UserError(
                f"data.validation_share: got {shown(self.validation_share)}, allowed are numbers "
                "between 0 and 1"
            )
        for field in ("image_size", "num_threads", "num_frames"):
            if getattr(self, field) < 0:
                raise UserError(f"data.{field}: got {getattr(self, field)}, allowed is 0 or more")
        for field, most in {"image_size": LARGEST_SIDE, "num_threads": MOST_THREADS}.items():
            if getattr(self, field) > most:
                raise UserError(
                    f"data.{field}: got {getattr(self, field)}, allowed is {most} at most"
                )
        if self.dataset == "clips" and not self.num_frames:
            raise UserError("data.num_frames: got 0, allowed with dataset 'clips' is 1 or more")
        if not 0 < self.random_crop <= 1:
            raise UserError(f"data.random_crop: got {shown(self.random_crop)}, allowed are (0, 1]")
        if self.random_crop < 1 and (self.dataset == "tokens" or not self.random_views):
            raise UserError(
                f"data.random_crop: got {shown(self.random_crop)}, allowed without random_views, "
                "and of a token cache, is 1"
            )
        for field in REQUIRED.get(self.dataset, ()):
            if not getattr(self, field):
                raise UserError(f"data.{field}: missing; dataset {shown(self.dataset)} needs it")
        for field in UNUSED.get(self.dataset, ()):
            if value := getattr(self, field):
                raise UserError(
                    f"data.{field}: got {shown(value)}, allowed is none with dataset "
                    f"{shown(self.dataset)}: data.{field}={shown(type(value)())}"
                )
