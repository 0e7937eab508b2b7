"""Pictures that name their own colours are read in sRGB; others keep every pixel."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from lpd_jax.runtime.colour_profiles import in_srgb
from lpd_jax.runtime.picture_files import flattened, read_picture

ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
WHITE_D50 = (0.9642, 1.0, 0.8249)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def fixed(numbers) -> bytes:
    return b"".join(struct.pack(">i", round(x * 65536)) for x in numbers)


def profile(space: bytes, gamma: float, primaries=()) -> bytes:
    """An ICC profile of version 2: one gamma, and the XYZ of red, green and blue."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + fixed(WHITE_D50),
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    for name, colour in zip((b"r", b"g", b"b"), primaries, strict=False):
        tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(colour), name + b"TRC": curve}
    if not primaries:
        tags[b"kTRC"] = curve
    body, table = b"", b""
    for name, tag in tags.items():
        start = 132 + 12 * len(tags) + len(body)
        table += name + struct.pack(">II", start, len(tag))
        body += tag + bytes(-len(tag) % 4)
    size = struct.pack(">I", 132 + len(table) + len(body))
    head = size + b"lcms\x02\x40\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + fixed(WHITE_D50) + bytes(48) + struct.pack(">I", len(tags)) + table + body


ADOBE_RGB = profile(b"RGB ", 2.2, ADOBE)


def pixels(image: Image.Image, icc_profile: bytes, kind: str = "PNG", **options) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, icc_profile=icc_profile)
    return np.asarray(read_picture(file.getvalue(), **options))


def adobe_to_srgb(colour) -> list[int]:
    """By the published formulas; both have the same white."""
    linear = (np.array(colour) / 255) ** 2.2 @ np.array(ADOBE)
    srgb_to_xyz = np.array(
        [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
    )
    x = np.clip(np.linalg.solve(srgb_to_xyz, linear), 0, 1)
    return np.rint(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("colour", [(200, 120, 90), (120, 130, 200), (255, 255, 255), (0, 0, 0)])
def test_colours_of_adobe_rgb_are_brought_to_srgb(colour):
    found = pixels(Image.new("RGB", (4, 3), colour), ADOBE_RGB)
    np.testing.assert_allclose(found[0, 0], adobe_to_srgb(colour), atol=1)
    as_stored = pixels(Image.new("RGB", (4, 3), colour), ADOBE_RGB, exif="stored")
    assert as_stored[0, 0].tolist() == list(colour)


def test_a_profile_of_srgb_a_damaged_one_and_one_of_another_picture_change_nothing():
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8))
    for odd in (SRGB, b"no profile", SRGB[:200], ADOBE_RGB[:150]):
        np.testing.assert_array_equal(pixels(image, odd), np.asarray(image))
    inks = image.convert("CMYK")
    inks.info["icc_profile"] = ADOBE_RGB
    flat = inks.convert("RGB")
    assert in_srgb(inks, flat) is flat


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_of_another_gamma(mode):
    value = 55 * 257 if mode == "I;16" else (55, 255) if mode == "LA" else 55
    found = pixels(Image.new(mode, (2, 2), value), profile(b"GRAY", 1.0))
    np.testing.assert_allclose(found, 128, atol=1)  # 55 of 255 of the light


def test_palettes_turned_and_transparent_pictures_keep_all_else():
    drawn = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    drawn.paste((200, 120, 90, 255), (0, 0, 2, 2))
    expected = np.full((2, 4, 3), 255)
    expected[:, :2] = adobe_to_srgb((200, 120, 90))
    np.testing.assert_allclose(pixels(drawn, ADOBE_RGB), expected, atol=1)
    palette = Image.fromarray(np.asarray(drawn)[..., :3]).quantize(2)
    np.testing.assert_allclose(pixels(palette, ADOBE_RGB)[:, :2], expected[:, :2], atol=1)
    mark = Image.Exif()
    mark[0x0112] = 6
    drawn.info["exif"] = mark.tobytes()
    file = io.BytesIO()
    drawn.save(file, "PNG", icc_profile=ADOBE_RGB, exif=mark)
    turned = np.asarray(read_picture(file.getvalue()))
    np.testing.assert_allclose(turned, np.rot90(expected, -1), atol=1)


def test_pictures_that_are_open_already_are_read_alike():
    image = Image.new("RGB", (4, 3), (200, 120, 90))
    assert np.asarray(flattened(image))[0, 0].tolist() == [200, 120, 90]
    image.info["icc_profile"] = ADOBE_RGB
    np.testing.assert_allclose(
        np.asarray(flattened(image))[0, 0], adobe_to_srgb((200, 120, 90)), atol=1
    )
