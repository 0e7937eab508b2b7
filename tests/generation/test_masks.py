import numpy as np
import pytest
from PIL import Image

from lpd_jax.generation import masks

SIZE, GRID = (8, 12), (4, 6)


def test_a_box_is_top_left_height_width_in_pixels():
    mask_BHW = masks.pixel_mask(None, (1, 2, 3, 5), SIZE, GRID)
    assert mask_BHW.shape == (1, *SIZE)
    rows, columns = np.nonzero(mask_BHW[0])
    assert (set(rows), set(columns)) == ({1, 2, 3}, {2, 3, 4, 5, 6})


def test_pixels_and_tokens_can_be_masked_for_all_images_or_one_by_one():
    random = np.random.default_rng(0)
    pixels_BHW = random.random((3, *SIZE)) < 0.5
    np.testing.assert_array_equal(masks.pixel_mask(pixels_BHW, None, SIZE, GRID), pixels_BHW)
    grey_HW = np.where(pixels_BHW[0], 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(masks.pixel_mask(grey_HW, None, SIZE, GRID), pixels_BHW[:1])
    tokens_BHW = random.random((2, *GRID)) < 0.5
    wide_BHW = masks.pixel_mask(tokens_BHW, None, SIZE, GRID)
    np.testing.assert_array_equal(wide_BHW[:, 1::2, 1::2], tokens_BHW)
    np.testing.assert_array_equal(masks.known_tokens(wide_BHW, 2), ~tokens_BHW.reshape(2, -1))


def test_a_token_is_known_only_if_all_its_pixels_are():
    mask_BHW = np.zeros((1, *SIZE), bool)
    mask_BHW[0, 3, 5] = True
    unknown = np.flatnonzero(~masks.known_tokens(mask_BHW, 2)[0])
    assert unknown.tolist() == [1 * 6 + 2]


@pytest.mark.parametrize(
    ("mask", "box", "message"),
    [
        (None, None, "mask, box: got none, allowed is one of them"),
        (np.ones(SIZE, bool), (0, 0, 1, 1), "mask, box: got both"),
        (np.ones((8, 8), bool), None, r"mask: got bool \(8, 8\), .* \(8, 12\) pixels or \(4, 6\)"),
        (np.ones(SIZE), None, r"mask: got float64 \(8, 12\), allowed is bool or uint8"),
        (np.ones((1, 1, *SIZE), bool), None, r"mask: got bool \(1, 1, 8, 12\)"),
        (True, None, r"mask: got bool \(\)"),
        (None, (0, 0, 9, 1), "box: got top 0, left 0, height 9, width 1, .* inside the 8x12"),
        (None, (-1, 0, 2, 2), "box: got top -1"),
        (None, (0, 0, 0, 4), "box: got .* height 0, width 4, allowed are .* at least one pixel"),
        (None, (0, 0, 4), r"box: got \(0, 0, 4\), allowed are four whole numbers"),
        (None, (0.5, 0, 4, 4), "box: got .* allowed are four whole numbers"),
    ],
)
def test_a_bad_mask_is_named(mask, box, message):
    with pytest.raises(ValueError, match=message) as error:
        masks.pixel_mask(mask, box, SIZE, GRID)
    assert "\n" not in str(error.value)


def test_a_picture_repaints_where_it_is_light():
    grey_HW = np.full(SIZE, 127, np.uint8)
    grey_HW[2:4] = 128
    for mask in (Image.fromarray(grey_HW), [Image.fromarray(grey_HW)]):
        mask_BHW = masks.pixel_mask(mask, None, SIZE, GRID)
        np.testing.assert_array_equal(mask_BHW, (grey_HW > 127)[None])
    red = Image.new("RGB", SIZE[::-1], (255, 0, 0))
    with pytest.raises(ValueError, match="^mask: got a picture whose lightest grey is 76 of 255"):
        masks.pixel_mask(red, None, SIZE, GRID)


def random_pictures(seed: int, size=(20, 20)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize("seam", [0, 1, 4, 30])
def test_pixels_outside_of_the_mask_are_the_original_ones(seam):
    original_BHWC, painted_BHWC = random_pictures(0), random_pictures(1)
    mask_BHW = np.random.default_rng(2).random((2, 20, 20)) < 0.7
    pasted_BHWC = masks.paste_back(original_BHWC, painted_BHWC, mask_BHW, seam)
    assert pasted_BHWC.dtype == np.uint8
    np.testing.assert_array_equal(pasted_BHWC[~mask_BHW], original_BHWC[~mask_BHW])
    if seam == 0:
        np.testing.assert_array_equal(pasted_BHWC[mask_BHW], painted_BHWC[mask_BHW])
    # What the mask hides is not looked at.
    hidden_BHWC = np.where(mask_BHW[..., None], np.uint8(0), original_BHWC)
    again_BHWC = masks.paste_back(hidden_BHWC, painted_BHWC, mask_BHW, seam)
    np.testing.assert_array_equal(again_BHWC, pasted_BHWC)


def test_a_difference_at_the_edge_fades_over_the_seam():
    painted_BHWC = np.full((1, 20, 20, 3), 100, np.uint8)
    mask_BHW = np.zeros((1, 20, 20), bool)
    mask_BHW[:, :, 8:] = True
    pasted_BHWC = masks.paste_back(painted_BHWC + np.uint8(40), painted_BHWC, mask_BHW, seam=3)
    assert pasted_BHWC[0, 10, 6:14, 0].tolist() == [140, 140, 130, 120, 110, 100, 100, 100]


def test_a_seam_wider_than_the_mask_ends_with_it(monkeypatch):
    sums = []
    neighbour_sum = masks.neighbour_sum
    monkeypatch.setattr(masks, "neighbour_sum", lambda x: sums.append(1) or neighbour_sum(x))
    mask_BHW = np.zeros((1, 20, 20), bool)
    mask_BHW[0, 8:12, 8:12] = True
    masks.paste_back(random_pictures(0)[:1], random_pictures(1)[:1], mask_BHW, 4096)
    assert len(sums) < 10


def test_with_nothing_or_everything_masked_there_is_no_seam():
    original_BHWC, painted_BHWC = random_pictures(0), random_pictures(1)
    for value, want_BHWC in ((False, original_BHWC), (True, painted_BHWC)):
        mask_BHW = np.full((2, 20, 20), value)
        np.testing.assert_array_equal(
            masks.paste_back(original_BHWC, painted_BHWC, mask_BHW, 5), want_BHWC
        )


def test_edges_are_continued_where_the_mask_hides():
    images_BHWC = np.zeros((2, 4, 6, 3), np.uint8)
    images_BHWC[..., 0] = np.arange(24).reshape(4, 6)
    mask_BHW = np.ones((2, 4, 6), bool)
    mask_BHW[0, 1:3, 2:4] = False
    continued_BHW = masks.continue_edges(images_BHWC, mask_BHW)[..., 0]
    assert continued_BHW[0].tolist() == [
        [8, 8, 8, 9, 9, 9],
        [8, 8, 8, 9, 9, 9],
        [14, 14, 14, 15, 15, 15],
        [14, 14, 14, 15, 15, 15],
    ]
    np.testing.assert_array_equal(continued_BHW[1], images_BHWC[1, ..., 0])  # nothing to go by
    mask_BHW[1] = np.arange(6) % 5 > 0  # columns 0 and 5 stay
    continued_BHW = masks.continue_edges(images_BHWC, mask_BHW)[..., 0]
    assert continued_BHW[1, 2].tolist() == [12, 12, 12, 17, 17, 17]
