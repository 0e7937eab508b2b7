"""Pictures of Pillow for those who work with them; arrays inside."""

from typing import Any

import numpy as np
from PIL import Image

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.picture_files import flattened

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


def as_arrays(images: Any) -> Any:
    """Pictures of Pillow, one or many, as uint8 `[B, H, W, 3]`; anything else as it is.

    They are flattened as those of files: transparency is laid on white, and colours that an ICC
    profile explains are brought to sRGB. Clips are lists of frames, which become `[B, T, H, W, 3]`.

    Raises:
        UserError: pictures of several sizes.
    """
    if isinstance(images, Image.Image):
        images = [images]
    is_list = isinstance(images, list | tuple) and len(images) > 0
    if is_list and all(isinstance(frames, list | tuple) for frames in images):
        clips = [as_arrays(frames) for frames in images]
        if not all(isinstance(clip, np.ndarray) for clip in clips):
            return images
        if len(shapes := {clip.shape for clip in clips}) > 1:
            got = ", ".join("x".join(map(str, shape[:3])) for shape in sorted(shapes))
            raise UserError(f"images: got clips of {got} pixels, allowed is one size")
        return np.stack(clips)
    if not is_list or not all(isinstance(image, Image.Image) for image in images):
        return images
    if len(sizes := {image.size for image in images}) > 1:
        got = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise UserError(f"images: got pictures of {got} pixels, allowed is one size")
    return np.stack([np.asarray(flattened(image)) for image in images])
