"""Picture files of all kinds: each is read as a viewer shows it, or its trouble is named."""

import concurrent.futures
import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from lpd_jax.runtime import picture_files
from lpd_jax.runtime.picture_files import UnreadablePicture, read_picture

RAMP_HW = np.arange(240, dtype=np.uint8).reshape(12, 20)
COLOURS_HWC = np.stack([RAMP_HW, RAMP_HW[::-1], RAMP_HW[:, ::-1]], axis=-1)


def encoded(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(content: bytes, **options) -> np.ndarray:
    return np.asarray(read_picture(content, **options))


def png(header: tuple[int, int, int, int], rows: list[bytes], transparent: bytes = b"") -> bytes:
    """A PNG that Pillow does not write: (width, height, bits, colour type) and its raw rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))]
    parts += [chunk(b"tRNS", transparent)] if transparent else []
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_of_16_bits_keeps_its_greys(kind):
    deep = Image.fromarray(RAMP_HW.astype(np.uint16) * 257)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    np.testing.assert_array_equal(pixels(encoded(deep, kind, **options))[..., 0], RAMP_HW)


def test_colours_of_16_bits_are_the_same_as_grey_of_16_bits():
    rows = [np.stack([row] * 3, -1).astype(">u2").tobytes() for row in RAMP_HW.astype(int) * 257]
    expected = np.stack([RAMP_HW] * 3, axis=-1)
    np.testing.assert_array_equal(pixels(png((20, 12, 16, 2), rows)), expected)


def test_a_tiff_may_have_12_bits_or_white_as_0():
    content = bytearray(encoded(Image.fromarray(RAMP_HW.astype(np.uint16) * 257), "TIFF"))
    black_is_0 = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert content.count(black_is_0) == 1
    white_is_0 = content.replace(black_is_0, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    np.testing.assert_array_equal(pixels(bytes(white_is_0))[..., 0], 255 - RAMP_HW)


def test_floats_from_0_to_1_are_greys_and_others_are_named():
    values_HW = RAMP_HW.astype(np.float32) / 255
    np.testing.assert_array_equal(pixels(encoded(values_HW, "TIFF"))[..., 0], RAMP_HW)
    for odd in (values_HW * 300, values_HW - 1, values_HW * np.float32(np.nan)):
        with pytest.raises(UnreadablePicture, match="^floats from .* to .*; allowed are 0 to 1"):
            pixels(encoded(odd, "TIFF"))
    with pytest.raises(UnreadablePicture, match="^whole numbers that do not say what white is"):
        pixels(encoded(RAMP_HW.astype(np.int32), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_noted(kind, orientation):
    upright = {
        1: COLOURS_HWC,
        2: COLOURS_HWC[:, ::-1],
        3: COLOURS_HWC[::-1, ::-1],
        4: COLOURS_HWC[::-1],
        5: COLOURS_HWC.transpose(1, 0, 2),
        6: np.rot90(COLOURS_HWC, -1),
        7: COLOURS_HWC[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOURS_HWC),
    }[orientation]
    mark = Image.Exif()
    mark[0x0112] = orientation
    exact = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(COLOURS_HWC, kind, exif=mark, **exact)
    found = pixels(content)
    if kind == "JPEG":
        assert found.shape == upright.shape
        assert (
            np.abs(found.astype(int) - upright).mean() < 30 < np.abs(255 - found - upright).mean()
        )
    else:
        np.testing.assert_array_equal(found, upright)
    if kind != "TIFF":  # Pillow turns those itself
        assert pixels(content, exif="stored").shape == COLOURS_HWC.shape


def test_damaged_notes_of_the_camera_do_not_cost_the_picture():
    content = encoded(COLOURS_HWC, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    np.testing.assert_array_equal(pixels(content), COLOURS_HWC)


def hidden(mode: str, colour: int) -> bytes:
    """A drawn square on a ground of one colour that is fully transparent."""
    if mode in ("RGBA", "LA"):
        drawn = Image.new("RGBA", (8, 8), (colour, colour, colour, 0))
        drawn.paste((90, 90, 90, 255), (2, 2, 6, 6))
        return encoded(drawn.convert(mode))
    drawn = Image.new("RGB", (8, 8), (colour,) * 3)
    drawn.paste((90, 90, 90), (2, 2, 6, 6))
    if mode == "RGB":
        return encoded(drawn, transparency=(colour,) * 3)
    if mode == "L":
        return encoded(drawn.convert("L"), transparency=colour)
    flat = Image.new("P", (8, 8), 0)
    flat.putpalette([*[colour] * 3, 90, 90, 90])
    flat.paste(1, (2, 2, 6, 6))
    transparency = b"\0\xff" if mode == "P alphas" else 0
    return encoded(flat, "GIF" if mode == "GIF" else "PNG", transparency=transparency)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "P", "P alphas", "GIF"])
def test_what_lies_under_transparent_pixels_is_not_seen(mode):
    expected = np.full((8, 8, 3), 255)
    expected[2:6, 2:6] = 90
    for colour in (0, 7, 200):
        np.testing.assert_array_equal(pixels(hidden(mode, colour)), expected)
        black = pixels(hidden(mode, colour), ground=picture_files.BLACK)
        np.testing.assert_array_equal(black, np.where(expected == 255, 0, 90))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth(bits):
    """The left half is the brightest grey and transparent, the right half is black."""
    white = (1 << bits) - 1
    values = np.repeat([white, 0], 8)
    text = "".join(f"{value:0{bits}b}" for value in values)
    row = int(text, 2).to_bytes(len(text) // 8, "big")
    content = png((16, 2, bits, 0), [row] * 2, struct.pack(">H", white))
    found = pixels(content, ground=(10, 20, 30))
    np.testing.assert_array_equal(found[:, :8], np.broadcast_to([10, 20, 30], (2, 8, 3)))
    assert not found[:, 8:].any()


def test_a_transparent_colour_of_16_bits():
    row = np.array([[65535, 257, 0]] * 4 + [[0, 257, 0]] * 4, ">u2").tobytes()
    content = png((8, 1, 16, 2), [row], struct.pack(">HHH", 65535, 257, 0))
    found = pixels(content)[0].tolist()
    assert found == [[255, 255, 255]] * 4 + [[0, 1, 0]] * 4


def test_half_transparent_pixels_mix_with_the_ground():
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert np.abs(pixels(encoded(half)).astype(int) - 127).max() <= 1
    opaque = Image.fromarray(COLOURS_HWC).convert("RGBA")
    np.testing.assert_array_equal(pixels(encoded(opaque)), COLOURS_HWC)


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("RGB", (6, 4), (value, 0, 0)) for value in (200, 100)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        exact = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **exact)
        np.testing.assert_array_equal(pixels(content), np.asarray(frames[0]))


def test_what_is_no_picture_is_named(tmp_path):
    whole = encoded(COLOURS_HWC)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
    for content in (b"", b"no picture", b"<html>", whole[:40], whole[: len(whole) // 2], script):
        with pytest.raises(UnreadablePicture) as error:
            pixels(content)
        assert "\n" not in str(error.value) and "0x" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")
    with pytest.raises(UnreadablePicture):
        read_picture(tmp_path)


def test_no_damage_of_a_file_raises_anything_else():
    """Each byte of the beginning changed, and each length cut off."""
    rng = np.random.default_rng(0)
    for kind in ("PNG", "GIF", "BMP", "TIFF", "JPEG", "WEBP", "PPM"):
        whole = encoded(Image.fromarray(COLOURS_HWC[:4, :4]), kind)
        for i in rng.choice(len(whole), 60):
            broken = bytearray(whole)
            broken[i] ^= int(rng.integers(1, 256))
            for content in (bytes(broken), whole[:i]):
                try:
                    assert pixels(content).dtype == np.uint8
                except UnreadablePicture as error:
                    assert "\n" not in str(error)


def test_a_picture_is_measured_before_it_is_unpacked(monkeypatch):
    huge = png((60_000, 60_000, 8, 2), [b""])
    with pytest.raises(UnreadablePicture, match="too large; allowed are pictures of up to"):
        pixels(huge)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(UnreadablePicture, match="^20x12: too large; .* up to 200 pixels$"),
    ):
        pixels(encoded(COLOURS_HWC))


def test_endings_are_those_of_the_formats():
    known = picture_files.endings()
    wanted = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
    assert set(wanted) <= set(known)
    assert not {".eps", ".pdf", ".txt", ".mpg", ".h5"} & set(known)


@pytest.mark.parametrize(("limit", "most"), [(15, 1), (16, 4)])
def test_of_large_pictures_one_is_in_memory_at_a_time(monkeypatch, limit, most):
    monkeypatch.setattr(picture_files, "LARGE_PIXELS", limit)
    content = encoded(Image.new("RGB", (4, 4)), "PNG")
    inside, seen, all_in = [], [], threading.Barrier(4)

    def read(_):
        with picture_files.large_ones_in_turn(content):
            inside.append(1)
            if most > 1:
                all_in.wait(timeout=60)
            seen.append(len(inside))
            if most > 1:
                all_in.wait(timeout=60)
            inside.pop()

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(read, range(4)))
    assert max(seen) == most
    with picture_files.large_ones_in_turn(b"no picture"):
        pass
