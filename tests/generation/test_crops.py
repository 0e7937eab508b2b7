"""Boxes and masks of whole pictures follow them into the square that a model sees."""

import numpy as np
import pytest

from lpd_jax.generation.crops import Crop
from lpd_jax.images import adm_center_crop


@pytest.mark.parametrize("picture", [(240, 320), (321, 160), (64, 64), (50, 40)])
@pytest.mark.parametrize("box", [(5, 10, 20, 25), (0, 0, 50, 40), (24, 19, 1, 1)])
def test_a_box_is_where_its_pixels_went(picture, box):
    top, left, height, width = box
    drawn_HWC = np.zeros((*picture, 3), np.uint8)
    drawn_HWC[top : top + height, left : left + width] = 255
    seen_HW = adm_center_crop(drawn_HWC, 32)[..., 0]
    crop = Crop(picture, 32)
    if seen_HW.max() < 30:  # beside the square, or next to nothing of it
        return
    top, left, height, width = crop.box(box)
    inside_HW = np.zeros((32, 32), bool)
    inside_HW[top : top + height, left : left + width] = True
    bright_HW = seen_HW > 127
    assert inside_HW[bright_HW].all()
    # Rounded outwards, by a pixel at most.
    assert inside_HW.sum() <= (np.ptp(np.nonzero(seen_HW > 8)[0]) + 3) * (
        np.ptp(np.nonzero(seen_HW > 8)[1]) + 3
    )
    mask_HW = crop.mask(drawn_HWC[..., 0] > 127)
    assert (mask_HW != bright_HW).mean() < 0.05


def test_a_box_outside_is_named():
    crop = Crop((30, 20), 8)
    with pytest.raises(
        ValueError, match=r"^box: got \[0, 0, 5, 20\], which lies beside the square"
    ):
        crop.box([0, 0, 5, 20])
    with pytest.raises(ValueError, match="^box: got top 0, left 0, height 31, .* 30x20 picture"):
        crop.box([0, 0, 31, 20])
