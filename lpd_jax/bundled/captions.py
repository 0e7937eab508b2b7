"""Words below pictures: one line each, in letters that are there, as wide as the picture."""

import bisect
import logging
import math
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lpd_jax.bundled import FOLDER

INK = (40, 40, 40)
# Latin, Greek, Cyrillic, Armenian, Georgian and signs. Pillow's own font has plain English only.
FONT_FILE = FOLDER / "font" / "DejaVuSans.ttf"
NO_CHARACTER = "\uffff"  # of no font: it is drawn as the box that stands for what is missing

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)  # heard where others are told to report errors only
told: set[str] = set()  # characters that were said to be missing


def draw(labels: Sequence[str], width: int, background: int) -> np.ndarray:
    """Strips uint8 `[B, height, width, 3]`, each with its label in the middle.

    A label that is too long ends in "…". A character that the font lacks is drawn as its number
    ("U+732B") and logged once.
    """
    font = caption_font(labels, max(10, min(22, width // 9)))
    lines = [one_line(label, font, width) for label in labels]
    height = math.ceil(font.getbbox("Ág")[3]) + 5  # tallest letters, and below the line
    return np.stack([draw_line(line, font, (width, height), background) for line in lines])


def caption_font(labels: Sequence[str], size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font where it has all letters, else the bundled one."""
    if all(label.isascii() for label in labels):
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)  # it is where a size is given
        return font
    # The basic layout draws the same with any Pillow.
    return ImageFont.truetype(FONT_FILE, size, layout_engine=ImageFont.Layout.BASIC)


def one_line(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The label as it can be drawn, shortened until it fits."""
    # No letter is narrower than a pixel, so that more of them never fit.
    text = " ".join(unicodedata.normalize("NFC", label[: 2 * width]).split())[: width + 1]
    text = with_numbers(text, font)[: width + 1]
    if font.getlength(text) <= width:
        return text

    def overhang(count: int) -> int:
        return math.ceil(font.getlength(text[:count] + "…") - width)

    # Halving: letter by letter, a name of thousands of letters takes minutes.
    count = bisect.bisect_right(range(len(text)), 0, key=overhang) - 1
    return text[: max(count, 0)].rstrip("…") + "…"


def with_numbers(text: str, font: ImageFont.FreeTypeFont) -> str:
    """The text with the numbers of characters in place of those that the font lacks."""
    missing = missing_characters(text, font)
    if unheard := "".join(sorted(set(missing) - told)):
        told.update(unheard)
        shown = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unheard[:10])
        more = f" and {len(unheard) - 10} more" if len(unheard) > 10 else ""
        logger.warning("captions: the font lacks %s%s; their numbers are drawn", shown, more)
    return "".join(f"U+{ord(x):04X}" if x in missing else x for x in text)


def missing_characters(text: str, font: ImageFont.FreeTypeFont) -> set[str]:
    if text.isascii() and text.isprintable():
        return set()
    box = bytes(font.getmask(NO_CHARACTER))
    return {x for x in set(text) if not x.isspace() and is_missing(x, font, box)}


def is_missing(character: str, font: ImageFont.FreeTypeFont, box: bytes) -> bool:
    # Half of a surrogate pair stands for a byte of a file name, and is no character.
    return unicodedata.category(character) in ("Cs", "Cc") or bytes(font.getmask(character)) == box


def draw_line(
    text: str, font: ImageFont.FreeTypeFont, size: tuple[int, int], background: int
) -> np.ndarray:
    """Strip uint8 `[height, width, 3]` of the size (width, height), the text in its middle."""
    strip = Image.new("RGB", size, (background,) * 3)
    left = (size[0] - font.getlength(text)) / 2
    ImageDraw.Draw(strip).text((left, 2), text, fill=INK, font=font)
    return np.asarray(strip)
