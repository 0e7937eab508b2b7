"""Colours of files that name their own: phones write Display P3, cameras Adobe RGB, printers CMYK.

A viewer converts them to sRGB by the ICC profile in the file; read as they are they look dull.
"""

import functools
import io
from typing import Any

import numpy as np
from PIL import Image

SAME = 2  # of 255, by which profiles of sRGB differ from each other
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of profiles, and Pillow's modes


def in_srgb(image: Image.Image, flat: Image.Image) -> Image.Image:
    """The RGB pixels of a picture with the colours that its ICC profile means.

    Args:
        image: as the file has it.
        flat: the same in RGB of 8 bits, transparency laid on a ground.

    Returns:
        `flat` itself where there is no profile, one of sRGB, or one that cannot be read.
    """
    profile = image.info.get("icc_profile")
    if not profile or not isinstance(profile, bytes):
        return flat
    mode, transform = transform_of(profile)
    if transform is None:
        return flat
    if (mode == "CMYK") != (image.mode == "CMYK"):  # of another picture
        return flat
    source = image if mode == "CMYK" else flat if mode == "RGB" else flat.convert("L")
    return transform.apply(source)


@functools.lru_cache(maxsize=64)  # photographs of one camera have one
def transform_of(profile: bytes) -> tuple[str, Any]:
    """Pillow's mode of a profile, and what brings its pixels to sRGB; None: nothing to do."""
    try:
        from PIL import ImageCms  # a Pillow may be built without it

        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES[own.profile.xcolor_space]
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(own, srgb, mode, "RGB")
        is_srgb = mode == "RGB" and changes_nothing(transform)
    except Exception:  # a damaged profile: the picture is whole without it
        return "", None
    return mode, None if is_srgb else transform


def changes_nothing(transform: Any) -> bool:
    """Whether it leaves colours all over the cube where they are."""
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(36, 6, 3)
    moved = np.asarray(transform.apply(Image.fromarray(colours))).astype(int) - colours
    return int(np.abs(moved).max()) <= SAME
