"""Names below pictures can be read, or it is said what the font lacks."""

import logging
import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from lpd_jax.bundled import captions


def strip(label: str, width: int = 200) -> np.ndarray:
    return captions.draw([label], width, 238)[0]


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(captions, "told", set())


@pytest.mark.parametrize(
    ("first", "second"),
    [("é", "å"), ("grün", "grön"), ("кот", "сом"), ("α", "β"), ("ἄ", "ἆ"), ("ệ", "ễ"), ("ł", "ð")],
)
def test_letters_of_many_languages_are_drawn(first, second, fresh, caplog):
    with caplog.at_level(logging.WARNING):
        assert (strip(first) != strip(second)).any()
    assert not caplog.records


def test_one_name_is_drawn_the_same_in_both_of_its_forms():
    forms = [unicodedata.normalize(form, "Ångström") for form in ("NFC", "NFD")]
    np.testing.assert_array_equal(*map(strip, forms))


def test_what_the_font_lacks_is_drawn_as_its_number_and_said_once(fresh, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (strip("猫") != strip("犬")).any()
    assert [record.getMessage() for record in caplog.records] == [
        "captions: the font lacks '猫' (U+732B); their numbers are drawn",
        "captions: the font lacks '犬' (U+72AC); their numbers are drawn",
    ]
    font = captions.caption_font(["猫"], 20)
    assert captions.one_line("猫 é", font, 200) == "U+732B é"


@pytest.mark.parametrize("letter", ["a", "é", "猫", "\u0301", "i", " a", "\n"])
def test_a_name_of_any_length_is_cut_to_the_picture(letter, fresh):
    font = captions.caption_font([letter], 20)
    line = captions.one_line(letter * 100_000, font, 120)
    assert font.getlength(line) <= 120 and "\n" not in line
    assert len(line) <= 121
    assert strip(letter * 100_000, 120).shape == strip("a" if letter.isascii() else "é", 120).shape


def test_lines_and_bytes_of_file_names_are_no_trouble(fresh):
    for label in ("two\nlines", "tab\there", "caf\udce9", "\0", "", " "):
        assert strip(label).shape[1:] == (200, 3)
    np.testing.assert_array_equal(strip("two\nlines"), strip("two lines"))


def test_plain_english_is_drawn_as_ever():
    """In Pillow's own font, 2 pixels below the picture."""
    font = ImageFont.load_default(22)
    canvas = Image.new("RGB", (200, strip("cat").shape[0]), (238,) * 3)
    left = (200 - font.getlength("cat")) / 2
    ImageDraw.Draw(canvas).text((left, 2), "cat", fill=(40, 40, 40), font=font)
    np.testing.assert_array_equal(strip("cat"), np.asarray(canvas))
