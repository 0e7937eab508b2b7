"""Picture files as people have them: any mode, 16 bits, turned cameras, transparency.

One reader for training, edits, masks and evaluation. What it gives is what a viewer shows, in
8 bits and sRGB: of an animation the first frame, of 16 bits the upper 8, transparency laid on
white.
"""

import contextlib
import functools
import io
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lpd_jax.runtime.buckets import is_bucket, read_bytes
from lpd_jax.runtime.colour_profiles import in_srgb
from lpd_jax.runtime.errors import UserError

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# What Pillow decodes by itself. EPS, WMF and the like are programs that others run.
FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000"),
    *("ICO", "ICNS", "TGA", "PCX", "SGI", "QOI", "PSD", "DDS", "PFM"),
)
MOST_BYTES = 2**31  # of a file; all pixels that are read, of 16 bits, are a third of it
LARGE_PIXELS = 2**24  # more than cameras of 16 megapixels give
LARGE_PICTURE = threading.Lock()
ORIENTATION = 0x0112  # the EXIF tag
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How Pillow stretches grey of few bits to 8; it leaves their transparent value as it is.
STRETCHED = {"L;2": 85, "L;4": 17}


class UnreadablePicture(UserError):  # noqa: N818 - what it says of the file
    """A file that is no picture, is damaged, or is too large; the message says which."""


def read_picture(
    source: bytes | str | os.PathLike,
    *,
    exif: str = "upright",
    ground: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """A picture file, or its bytes, as an RGB image of Pillow.

    Args:
        source: the file's path, or what it holds.
        exif: "upright" turns the picture as its camera noted, and brings colours that an ICC
            profile explains to sRGB; "stored" does neither, as ADM did.
        ground: the colour that transparent pixels are laid on.

    Raises:
        FileNotFoundError: no such file.
        UnreadablePicture: no picture, a damaged one, one of more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`, or numbers that do not say which of them is white.
    """
    try:
        with Image.open(as_file(source), formats=formats()) as image:
            check_size(image)
            stored = [*image.tile[0]][3] if image.tile else None
            image.load()
            flat = lay_on(eight_bits(image), ground, stored)
            return turned(image, in_srgb(image, flat)) if exif == "upright" else flat
    except (FileNotFoundError, UnreadablePicture):
        raise
    except Image.DecompressionBombError:
        raise UnreadablePicture(too_large()) from None
    except UnidentifiedImageError:
        raise UnreadablePicture("no picture of a format that is read") from None
    except MemoryError:
        raise UnreadablePicture("more than the memory holds") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise anything
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UnreadablePicture(problem) from None


def read_file(file: Any) -> bytes:
    """What a picture file holds, local or of a bucket.

    Raises:
        OSError: it is not there, or cannot be read.
        UnreadablePicture: more bytes than a picture has that is read; it would fill the memory.
    """
    if not is_bucket(file) and (size := file.stat().st_size) > MOST_BYTES:
        raise UnreadablePicture(f"{size:,} bytes; allowed are pictures of up to {MOST_BYTES:,}")
    return read_bytes(file)


def stored_size(source: bytes | str | os.PathLike) -> tuple[int, int]:
    """(width, height) as a file announces them, before its camera's turn; nothing is unpacked.

    Raises:
        FileNotFoundError, UnreadablePicture: no such file, or what begins as no picture.
    """
    try:
        with Image.open(as_file(source), formats=formats()) as image:
            return image.size
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file makes Pillow's readers raise anything
        raise UnreadablePicture(type(error).__name__) from None


def flattened(image: Image.Image, ground: tuple[int, int, int] = WHITE) -> Image.Image:
    """A picture of Pillow that is open already, sRGB in 8 bits; UnreadablePicture as of a file."""
    return in_srgb(image, lay_on(eight_bits(image), ground, None))


@contextlib.contextmanager
def large_ones_in_turn(source: Any) -> Iterator[None]:
    """Around reading and shrinking a picture: of many threads one at a time has a large one.

    Else as many as there are threads would be whole in memory at once, each up to a gigabyte while
    its colours are converted.
    """
    try:
        with Image.open(as_file(source), formats=formats()) as image:
            is_large = image.width * image.height > LARGE_PIXELS
    except Exception:  # what is wrong with it, the reader says
        is_large = False
    with LARGE_PICTURE if is_large else contextlib.nullcontext():
        yield


def as_file(source: bytes | str | os.PathLike) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else source


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def endings() -> tuple[str, ...]:
    """Endings of file names, in lower case, of all formats that are read."""
    known = Image.registered_extensions().items()
    return tuple(sorted(ending for ending, name in known if name in formats()))


def check_size(image: Image.Image) -> None:
    """Raises UnreadablePicture before more is unpacked than Pillow thinks sane."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise UnreadablePicture(f"{image.width}x{image.height}: {too_large()}")


def too_large() -> str:
    return f"too large; allowed are pictures of up to {Image.MAX_IMAGE_PIXELS:,} pixels"


def eight_bits(image: Image.Image) -> Image.Image:
    """The same with 8 bits a number: grey of 16 bits loses its lower 8, floats are 0 to 1."""
    if image.mode == "F":
        return eight_bits_of_floats(image)
    if not image.mode.startswith("I"):
        return image  # Pillow takes the upper bits of 16-bit colours itself
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise UnreadablePicture("whole numbers that do not say what white is; save it as PNG")
    return eight_bits_of_16(image)


def eight_bits_of_16(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to "L", or where one grey is transparent, to "LA"."""
    tags = getattr(image, "tag_v2", {})  # of a TIFF, which may have 12 bits or white as 0
    white = (1 << int(np.max(tags.get(BITS_PER_SAMPLE, 16)))) - 1
    values_HW = np.asarray(image).astype(np.int32)
    if tags.get(PHOTOMETRIC) == 0:
        values_HW = white - values_HW
    grey = Image.fromarray(np.clip(values_HW * 256 // (white + 1), 0, 255).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    # Compared before the lower bits are gone.
    drawn_HW = np.where(values_HW == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(drawn_HW)))


def eight_bits_of_floats(image: Image.Image) -> Image.Image:
    values_HW = np.asarray(image)
    low, high = float(values_HW.min()), float(values_HW.max())
    if not 0 <= low <= high <= 1:
        raise UnreadablePicture(f"floats from {low:g} to {high:g}; allowed are 0 to 1")
    return Image.fromarray(np.rint(values_HW * 255).astype(np.uint8))


def lay_on(image: Image.Image, ground: tuple[int, int, int], stored: Any) -> Image.Image:
    """RGB of an 8-bit picture; what is transparent shows the ground.

    Args:
        stored: how the file holds its pixels, in Pillow's words.
    """
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = with_scaled_transparency(image, stored)
    if image.mode == "La":  # multiplied by its alpha
        image = image.convert("LA")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):  # nothing is transparent
        return rgba.convert("RGB")
    below = Image.new("RGBA", rgba.size, (*ground, 255))
    return Image.alpha_composite(below, rgba).convert("RGB")


def with_scaled_transparency(image: Image.Image, stored: Any) -> Image.Image:
    """The transparent colour of a PNG in the 8 bits that its pixels were brought to."""
    colour = image.info.get("transparency")
    raw = next(iter(stored), None) if isinstance(stored, tuple) else stored
    if isinstance(colour, int) and raw in STRETCHED:
        image.info["transparency"] = colour * STRETCHED[raw]
    elif isinstance(colour, tuple) and str(raw).startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    return image


def turned(image: Image.Image, flat: Image.Image) -> Image.Image:
    """The pixels `flat` of a picture, turned as its EXIF data say."""
    turn = TURNS.get(orientation(image))
    return flat if turn is None else flat.transpose(turn)


def orientation(image: Image.Image) -> int:
    """How a picture is to be turned, by its EXIF data: a key of TURNS, or another number if not."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged notes of the camera: the picture is whole without them
        return 1
