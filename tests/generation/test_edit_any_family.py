"""Every family that draws in any order edits: what is known comes back, the rest is drawn."""

import numpy as np
import pytest

import lpd_jax
from lpd_jax.generation import inpaint, masks
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_scan")
LABELS = ["cat", "owl"]


@pytest.fixture(scope="module", params=[tiny.RANDAR, tiny.ARPG], ids=["randar", "arpg"])
def pipe(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.write_model_directory(path, transformer=request.param, order="random")
    return lpd_jax.Pipeline.from_pretrained(path)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


def test_known_tokens_and_pixels_come_back_untouched(pipe, pictures):
    tokens_BN = pipe.encode(pictures)
    mask_HW = np.tile(np.arange(4) >= 2, (4, 1))
    edited = inpaint.inpaint(pipe, pictures, LABELS, mask=mask_HW)
    known_N = ~mask_HW.reshape(16)
    np.testing.assert_array_equal(edited.tokens_BN[:, known_N], tokens_BN[:, known_N])
    assert (edited.tokens_BN != tokens_BN)[:, ~known_N].mean() > 0.5
    kept_HW = ~masks.to_pixels(mask_HW[None], 2)[0]
    np.testing.assert_array_equal(edited.images_BHWC[:, kept_HW], pictures[:, kept_HW])
    # Another class paints something else into the same hole, from the same noise.
    other_BHWC = pipe.edit_class(pictures, ["dog", "dog"], mask=mask_HW)
    assert (other_BHWC != edited.images_BHWC).any()


def test_it_paints_on_beyond_the_edges(pipe, pictures):
    wider_BHWC = pipe.outpaint(pictures, LABELS, right=4)
    assert wider_BHWC.shape == (2, 8, 12, 3)
    np.testing.assert_array_equal(wider_BHWC[:, :, :8], pictures)
