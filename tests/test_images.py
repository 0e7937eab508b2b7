import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from lpd_jax import images
from lpd_jax.runtime.errors import UserError

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize("index", [0, 1])
def test_adm_crop_is_byte_for_byte_the_reference(index):
    """Images 500x375 and 333x500; stored divided by 4, which loses nothing (low bits are zero)."""
    golden = np.load(GOLDEN / "adm_crop.npz")
    encoded = golden[f"image{index}_quarter_webp"].tobytes()
    image_HWC = np.asarray(Image.open(io.BytesIO(encoded))) * 4
    crop_HWC = images.adm_center_crop(image_HWC, 64)
    np.testing.assert_array_equal(crop_HWC, golden[f"crop64_{index}"])


def test_adm_crop_enlarges_small_pictures():
    assert images.adm_center_crop(np.zeros((20, 30, 3), np.uint8), 64).shape == (64, 64, 3)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_adm_crop_refuses_anything_but_uint8_rgb(image):
    with pytest.raises(ValueError, match="uint8 \\[height, width, 3\\]"):
        images.adm_center_crop(image, 4)


@pytest.mark.parametrize("prefix", ["", "smooth_"])
def test_resize_bicubic_and_to_uint8_match_the_reference(prefix):
    golden = np.load(GOLDEN / "bicubic.npz")
    images_BHWC = golden[f"{prefix}input"].transpose(0, 2, 3, 1)
    resized_BHWC = images.resize_bicubic(images_BHWC, 32)
    expected_BHWC = golden[f"{prefix}output"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(resized_BHWC, expected_BHWC, atol=2e-6)
    # The truncation is compared on the reference's own floats: 1e-7 may cross a whole number.
    np.testing.assert_array_equal(images.to_uint8(expected_BHWC), golden[f"{prefix}output_uint8"])


def test_resize_bicubic_keeps_a_picture_of_the_right_size():
    images_BHWC = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    np.testing.assert_allclose(images.resize_bicubic(images_BHWC, (5, 7)), images_BHWC, atol=1e-6)


def test_pixels_survive_the_model_range():
    """The reference's +128 is half a step high: 0..254 come back, and 255 stays 255."""
    pixels_BHWC = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats_BHWC = images.to_model_range(pixels_BHWC)
    assert floats_BHWC.dtype == np.float32
    assert floats_BHWC.min() == -1.0
    assert floats_BHWC.max() == 1.0
    back_BHWC = np.asarray(images.to_uint8(floats_BHWC))
    np.testing.assert_array_equal(back_BHWC, pixels_BHWC)


def test_image_grid_places_pictures_row_by_row():
    images_BHWC = np.stack([np.full((2, 3, 3), i, np.uint8) for i in range(3)])
    grid_HWC = images.image_grid(images_BHWC, columns=2, padding=1)
    assert grid_HWC.shape == (7, 9, 3)
    assert (grid_HWC[1:3, 1:4] == 0).all()
    assert (grid_HWC[1:3, 5:8] == 1).all()
    assert (grid_HWC[4:6, 1:4] == 2).all()
    assert (grid_HWC[4:6, 5:8] == images.BACKGROUND).all()


def test_labelled_grid_writes_a_label_below_each_enlarged_picture():
    images_BHWC = np.full((2, 40, 40, 3), 200, np.uint8)
    with_text = images.labelled_grid(images_BHWC, ["cat", "a very long name indeed"], scale=2)
    without = images.labelled_grid(images_BHWC, ["", ""], scale=2)
    assert with_text.shape == without.shape
    changed_HW = (with_text != without).any(-1)
    padding = 5
    assert not changed_HW[: padding + 80].any()
    assert changed_HW[padding + 80 :].any()
    assert not changed_HW[:, :padding].any()  # the long name was shortened to its column
    with pytest.raises(ValueError, match="got 1, allowed is one for each of 2"):
        images.labelled_grid(images_BHWC, ["cat"])


def test_save_png_is_lossless_and_leaves_no_temporary_file(tmp_path):
    image_HWC = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    images.save_png(tmp_path / "a.png", image_HWC)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image_HWC)
    with pytest.raises(UserError, match=r"^image: got uint8 \(4, 4, 7\), allowed is uint8"):
        images.save_png(tmp_path / "b.png", np.zeros((4, 4, 7), np.uint8))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_save_gif_keeps_every_frame_and_its_time(tmp_path):
    frames = [np.full((8, 8, 3), value, np.uint8) for value in (0, 128, 255)]
    images.save_gif(tmp_path / "a.gif", frames, [100, 100, 900])
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
        seen = []
        for i in range(3):
            film.seek(i)
            assert film.info["duration"] == (100, 100, 900)[i]
            seen.append(int(np.asarray(film.convert("RGB")).mean()))
    assert seen == [0, 128, 255]


def test_pictures_of_all_kinds_are_read_as_rgb_or_grey(tmp_path):
    grey_HW = np.arange(48, dtype=np.uint8).reshape(6, 8)
    rgb_HWC = np.stack([grey_HW, grey_HW + 1, grey_HW + 2], axis=-1)
    Image.fromarray(grey_HW).save(tmp_path / "grey.png")
    Image.fromarray(rgb_HWC).save(tmp_path / "rgb.webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    Image.fromarray(rgb_HWC).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(images.read_mask("mask", tmp_path / "grey.png"), grey_HW)
    assert images.read_image("input", tmp_path / "grey.png").shape == (6, 8, 3)
    np.testing.assert_array_equal(images.read_image("input", tmp_path / "rgb.webp"), rgb_HWC)
    turned_HWC = images.read_image("input", tmp_path / "turned.png")
    np.testing.assert_array_equal(turned_HWC, np.rot90(rgb_HWC, -1))


def test_of_a_mask_what_is_not_drawn_is_kept(tmp_path):
    """A white box on transparent white, on 16-bit dark grey, and on a transparent palette entry."""
    expected_HW = np.zeros((8, 8), np.uint8)
    expected_HW[2:6, 2:6] = 255
    drawn = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    drawn.paste((255, 255, 255, 255), (2, 2, 6, 6))
    for mode in ("RGBA", "LA"):
        drawn.convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(images.read_mask("mask", tmp_path / "mask.png"), expected_HW)
    deep = np.where(expected_HW > 0, 65535, 20 * 257).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "mask.png")
    found_HW = images.read_mask("mask", tmp_path / "mask.png")
    np.testing.assert_array_equal(found_HW, np.where(expected_HW > 0, 255, 20))
    flat = Image.frombytes("P", (8, 8), (expected_HW // 255).tobytes())
    flat.putpalette([255, 255, 255, 255, 255, 254])
    flat.save(tmp_path / "mask.gif", transparency=0)
    assert np.array_equal(images.read_mask("mask", tmp_path / "mask.gif") > 127, expected_HW > 0)


def test_a_picture_too_thin_to_crop_is_refused_by_its_name():
    assert images.adm_center_crop(np.zeros((100, 1, 3), np.uint8), 8).shape == (8, 8, 3)
    for shape in ((101, 1, 3), (3, 301, 3), (0, 5, 3)):
        with pytest.raises(
            ValueError, match="^input: a.png: got .* pixels, allowed are pictures wh"
        ):
            images.adm_center_crop(np.zeros(shape, np.uint8), 8, "input: a.png")


def test_what_is_no_sane_picture_is_named_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((9, 10, 3), np.uint8)).save(path)
    for limit in (80, 40):  # Pillow warns above its limit, and refuses above twice as much
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=f"input: got .*a.png.* up to {limit} pixels"):
            images.read_image("input", path)
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="input: got .*a.png.*, allowed are picture files"):
        images.read_image("input", path)
    with pytest.raises(ValueError, match="input: got .*b.png.*, which does not exist"):
        images.read_image("input", tmp_path / "b.png")


def test_random_crops_are_squares_cut_anywhere():
    columns_HWC = np.broadcast_to(np.arange(0, 200, 20, dtype=np.uint8)[None, :, None], (8, 10, 3))
    picture = Image.fromarray(np.ascontiguousarray(columns_HWC))
    lefts = set()
    for seed in range(20):
        crop_HWC = images.random_crop(picture, 8, 1.0, np.random.default_rng(seed))
        left = int(crop_HWC[0, 0, 0]) // 20
        np.testing.assert_array_equal(crop_HWC, columns_HWC[:, left : left + 8])
        lefts.add(left)
    assert lefts == {0, 1, 2}


def test_random_crops_show_at_least_the_share_asked_for():
    """Of a ramp of 0 to 250, a crop shows a share that its range tells."""
    ramp_HWC = np.broadcast_to(np.linspace(0, 250, 64)[None, :, None], (64, 64, 3))
    picture = Image.fromarray(ramp_HWC.round().astype(np.uint8))
    shares = []
    for seed in range(40):
        crop_HWC = images.random_crop(picture, 32, 0.8, np.random.default_rng(seed)).astype(int)
        assert crop_HWC.shape == (32, 32, 3)
        shares.append((crop_HWC[0, -1, 0] - crop_HWC[0, 0, 0]) / 250)
    assert 0.74 < min(shares) < 0.82 and 0.95 < max(shares) <= 1
