"""Pictures on their way in and out: uploads, PNG, all frames in one, animations."""

import base64
import binascii
import io
import math
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lpd_jax.generation.picture_sinks import TEXT_KEY
from lpd_jax.images import image_grid
from lpd_jax.runtime.arguments import check_text
from lpd_jax.runtime.clip_files import write_webp
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.picture_files import UnreadablePicture, formats, read_picture

MOST_BYTES = 2**24  # of an upload
MOST_PIXELS = 2**25  # of an upload; telephones give 24 million
TYPES = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
LONGEST_SIDE = 1024  # of a picture that the page is given back to cut
MOST_FRAMES = 64
MOST_SPRITE_PIXELS = 2**24
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 160, 2000
CLIP_MILLISECONDS = 125  # of a frame: models of clips are trained on 8 a second


def read_upload(name: str, content: bytes) -> np.ndarray:
    """Pixels uint8 `[H, W, 3]` of what somebody sent, upright, transparency laid on white.

    Raises:
        UserError: too large, of another type, damaged, or no picture.
    """
    allowed = f"are {', '.join(TYPES)} of up to {MOST_PIXELS:,} pixels and {MOST_BYTES:,} bytes"
    if len(content) > MOST_BYTES:
        raise UserError(f"{name}: got {len(content):,} bytes, allowed {allowed}")
    known = [kind for kind in TYPES if kind in formats()]
    try:
        with Image.open(io.BytesIO(content), formats=known) as image:
            width, height = image.size
    except Exception:  # a damaged file makes Pillow raise anything, and warn of its size
        raise UserError(f"{name}: got no picture that can be read, allowed {allowed}") from None
    if width * height > MOST_PIXELS:
        raise UserError(f"{name}: got {width}x{height} pixels, allowed {allowed}")
    try:
        return np.asarray(read_picture(content))
    except UnreadablePicture as error:
        raise UserError(f"{name}: got a damaged one ({error}), allowed {allowed}") from None


def from_text(name: str, text: Any) -> np.ndarray:
    """The same of base64, with or without "data:image/png;base64," before it."""
    allowed = "is a picture file in base64"
    text = check_text(name, text, "a picture file in base64, as a text")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        # `base64` and mail break lines after 76 letters.
        return read_upload(name, base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name}: got {shown(text)}, allowed {allowed}") from None


def shrunk(image_HWC: np.ndarray) -> np.ndarray:
    """The picture, no side of it longer than the page needs to cut it."""
    image = Image.fromarray(image_HWC)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)


def png(image_HWC: np.ndarray, said: str = "") -> bytes:
    """A PNG file that says in a text chunk how it was drawn."""
    info = PngInfo()
    if said:
        info.add_itxt(TEXT_KEY, said)
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, format="PNG", pnginfo=info)
    return file.getvalue()


def most_frames(image_size: tuple[int, ...]) -> int:
    """Frames that one file holds."""
    return max(2, min(MOST_FRAMES, MOST_SPRITE_PIXELS // math.prod(image_size)))


def sprite_columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def sprite(frames_BHWC: np.ndarray) -> bytes:
    """All frames in one PNG, row by row."""
    columns = sprite_columns(len(frames_BHWC))
    return png(image_grid(frames_BHWC, columns, padding=0))


def animation(content: bytes, count: int, is_clip: bool = False) -> bytes:
    """A lossless WebP that plays the frames of a sprite without end.

    The last is shown longer, but for clips.
    """
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        whole_HWC = np.asarray(image.convert("RGB"))
    columns = sprite_columns(count)
    rows = -(-count // columns)
    height, width = whole_HWC.shape[0] // rows, whole_HWC.shape[1] // columns
    cells = whole_HWC.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
    times = [CLIP_MILLISECONDS if is_clip else FRAME_MILLISECONDS] * count
    if not is_clip:
        times[-1] = LAST_FRAME_MILLISECONDS
    file = io.BytesIO()
    write_webp(file, list(cells.reshape(-1, height, width, 3)[:count]), times)
    return file.getvalue()
