"""Photos that Pillow opened stand upright, or are refused where nobody knows how they lie."""

import numpy as np
import pytest
from PIL import Image, ImageOps

import lpd_jax
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_scan")
REFUSED = r"got a picture of Pillow with the note .* \(EXIF orientation 6\), allowed are upright"


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


@pytest.fixture
def photo(tmp_path):
    """A file that a camera held on its side wrote, 8 pixels high and 6 wide where it is shown."""
    image_HWC = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image_HWC).save(tmp_path / "photo.png", exif=exif)
    return tmp_path / "photo.png"


def test_a_photo_that_is_opened_stands_upright(pipe, photo):
    with Image.open(photo) as image:
        upright = ImageOps.exif_transpose(image)
        tokens_Bhw = pipe.encode(image)
        assert tokens_Bhw.shape == (1, 4, 3)
        np.testing.assert_array_equal(tokens_Bhw, pipe.encode(np.asarray(upright)[None]))
        np.testing.assert_array_equal(tokens_Bhw, pipe.encode([upright]))
        with pytest.raises(ValueError, match="^images: got pictures of 6x8, 8x6 pixels"):
            pipe.encode([image, Image.new("RGB", (8, 6))])


def test_what_was_made_of_a_photo_may_have_been_turned(pipe, photo):
    with Image.open(photo) as image:
        by_hand = image.transpose(Image.Transpose.ROTATE_270)
        for made in (image.convert("RGB"), by_hand):
            with pytest.raises(ValueError, match=f"^images: {REFUSED}"):
                pipe.encode(made)
        del by_hand.getexif()[274]
        np.testing.assert_array_equal(pipe.encode(by_hand), pipe.encode(image))


def test_a_mask_is_of_a_picture_that_surely_lies_as_it_is_shown(pipe, photo):
    with Image.open(photo) as image:
        for edit in (
            lambda: pipe.inpaint(image, [0], box=(0, 0, 2, 2)),
            lambda: pipe.edit_class([image], [0], mask=np.ones((4, 4), bool)),
            lambda: pipe.outpaint(image, [0], left=2),
        ):
            with pytest.raises(ValueError, match=f"^images: {REFUSED}"):
                edit()
        square = np.zeros((8, 8, 3), np.uint8)
        with pytest.raises(ValueError, match=f"^mask: {REFUSED}"):
            pipe.inpaint(square, [0], mask=image)


def test_pictures_of_pillow_and_arrays_may_stand_in_one_list(pipe, photo):
    with Image.open(photo) as image:
        upright_HWC = np.asarray(ImageOps.exif_transpose(image))
        clear = Image.new("RGBA", (6, 8))  # transparent: white, as in files
        white_HWC = np.full((8, 6, 3), 255, np.uint8)
        got = pipe.encode([upright_HWC, image, clear])
        wanted = pipe.encode(np.stack([upright_HWC, upright_HWC, white_HWC]))
        np.testing.assert_array_equal(got, wanted)
