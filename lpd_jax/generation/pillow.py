"""Pictures of Pillow for those who work with them; arrays inside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.picture_files import BLACK, TURNS, WHITE, flattened, orientation

OUTPUT_TYPES = ("numpy", "pil")


def check_output_type(output_type: Any) -> None:
    """Raises UserError for what is none of `OUTPUT_TYPES`."""
    if not isinstance(output_type, str) or output_type not in OUTPUT_TYPES:
        allowed = ", ".join(OUTPUT_TYPES)
        raise UserError(f"output_type: got {shown(output_type)}, allowed are {allowed}")


def as_output(images_BHWC: np.ndarray, output_type: str) -> Any:
    """The array as it is, or a list of pictures of Pillow; of clips a list of frames each."""
    if output_type == "numpy":
        return images_BHWC
    if images_BHWC.ndim > 4:
        return [as_output(frames_THWC, output_type) for frames_THWC in images_BHWC]
    return [Image.fromarray(image_HWC) for image_HWC in images_BHWC]


def as_arrays(images: Any, may_turn: bool = True) -> Any:
    """Pictures of Pillow, one or many, as uint8 `[B, H, W, 3]`; anything else as it is.

    They are flattened as those of files: transparency is laid on white, and colours that an ICC
    profile explains are brought to sRGB. Clips are lists of frames, which become `[B, T, H, W, 3]`.

    Args:
        may_turn: see `read_upright`.

    Raises:
        UserError: pictures of several sizes, one that cannot be read, or that may lie turned.
    """
    if isinstance(images, Image.Image):
        images = [images]
    is_list = isinstance(images, list | tuple) and len(images) > 0
    if is_list and all(isinstance(frames, list | tuple) for frames in images):
        clips = [as_arrays(frames, may_turn) for frames in images]
        if not all(isinstance(clip, np.ndarray) for clip in clips):
            return images
        if len(shapes := {clip.shape for clip in clips}) > 1:
            got = ", ".join("x".join(map(str, shape[:3])) for shape in sorted(shapes))
            raise UserError(f"images: got clips of {got} pixels, allowed is one size")
        return np.stack(clips)
    if not is_list or not any(isinstance(image, Image.Image) for image in images):
        return images
    if not all(isinstance(image, Image.Image) for image in images):  # arrays stand among them
        return [as_arrays(x, may_turn)[0] if isinstance(x, Image.Image) else x for x in images]
    pictures = [read_upright("images", image, WHITE, may_turn) for image in images]
    check_one_size("images", pictures)
    return np.stack([np.asarray(picture) for picture in pictures])


def as_greys(masks: Any) -> Any:
    """Masks of Pillow, one `[H, W]` or many `[B, H, W]`, as uint8; anything else as it is.

    They are read as those of files: the numbers of a palette are no greys, and what is not drawn,
    since it is transparent, is 0.

    Raises:
        UserError: masks of several sizes, one that cannot be read, or that may lie turned.
    """
    if isinstance(masks, Image.Image):
        return np.asarray(read_upright("mask", masks, BLACK, may_turn=False).convert("L"))
    is_list = isinstance(masks, list | tuple) and len(masks) > 0
    if not is_list or not all(isinstance(mask, Image.Image) for mask in masks):
        return masks
    check_one_size("mask", masks)
    return np.stack([as_greys(mask) for mask in masks])


def check_one_size(name: str, images: Sequence[Image.Image]) -> None:
    """Raises UserError for pictures of several sizes."""
    if len(sizes := {image.size for image in images}) > 1:
        got = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise UserError(f"{name}: got pictures of {got} pixels, allowed is one size")


def read_upright(
    name: str, image: Image.Image, ground: tuple[int, int, int], may_turn: bool
) -> Image.Image:
    """`read_now`, turned as the camera noted, where that is certain.

    A picture that was made of a file keeps the note, turned by hand or not. And beside a mask or a
    box nobody knows whether they are of the picture as it is stored or as it is shown.

    Args:
        may_turn: whether a file that Pillow opened is turned; UserError for it otherwise.
    """
    flat, noted = read_now(name, image, ground), orientation(image)
    if noted not in TURNS:
        return flat
    if may_turn and isinstance(image, ImageFile.ImageFile):
        return flat.transpose(TURNS[noted])
    raise UserError(
        f"{name}: got a picture of Pillow with the note that it is to be turned (EXIF orientation "
        f"{noted}), allowed are upright ones: PIL.ImageOps.exif_transpose(picture) gives it; where "
        "it was turned by hand, del picture.getexif()[274]"
    )


def read_now(name: str, image: Image.Image, ground: tuple[int, int, int] = WHITE) -> Image.Image:
    """`flattened`; UserError naming the argument for a file that turns out to be damaged."""
    try:
        image.load()  # of a file, which Pillow reads now: damaged, it raises anything
        return flattened(image, ground)
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: got a picture of {image.width}x{image.height} pixels in mode {image.mode}, "
            f"allowed are those that can be read ({problem})"
        ) from None
