import numpy as np
import pytest

from lpd_jax import windows

WINDOW, FACTOR = (4, 6), 2


def decode(tokens_BN: np.ndarray) -> np.ndarray:
    """A cell of one colour for each token."""
    cells_BHW = tokens_BN.reshape(-1, *WINDOW)
    pixels_BHW = cells_BHW.repeat(FACTOR, axis=1).repeat(FACTOR, axis=2)
    return np.repeat(pixels_BHW[..., None], 3, axis=-1).astype(np.uint8)


def encode(images_BHWC: np.ndarray) -> np.ndarray:
    return images_BHWC[:, ::FACTOR, ::FACTOR, 0].reshape(len(images_BHWC), -1)


@pytest.mark.parametrize("grid", [(4, 6), (5, 6), (4, 13), (11, 17)])
@pytest.mark.parametrize("overlap", [(1, 1), (2, 3), (3, 5)])
def test_windows_cover_and_overlap(grid, overlap):
    kept = (slice(0, 4), slice(grid[1] // 2, grid[1]))
    areas = windows.window_areas(kept, grid, WINDOW, overlap)
    count_HW = np.zeros(grid, int)
    for area in areas:
        assert count_HW[area].shape == WINDOW
        count_HW[area] += 1
    assert count_HW.min() >= 1 and len(set(map(str, areas))) == len(areas)
    for axis in range(2):
        starts = sorted({area[axis].start for area in areas})
        assert (np.diff(starts) <= WINDOW[axis] - overlap[axis]).all()
        middle = windows.middle_start(kept[axis], grid[axis], WINDOW[axis])
        assert middle in starts
        assert abs(2 * middle + WINDOW[axis] - kept[axis].start - kept[axis].stop) <= 1 or (
            middle in (0, grid[axis] - WINDOW[axis])
        )


@pytest.mark.parametrize("grid", [(4, 6), (9, 6), (7, 20)])
def test_large_pictures_go_through_windows_and_back(grid):
    tokens_BHW = np.random.default_rng(0).integers(0, 256, (2, *grid), dtype=np.int32)
    whole = (slice(0, grid[0]), slice(0, grid[1]))
    areas = windows.window_areas(whole, grid, WINDOW, (1, 2))
    images_BHWC = windows.decode_windows(decode, tokens_BHW, areas, FACTOR)
    assert images_BHWC.shape == (2, grid[0] * FACTOR, grid[1] * FACTOR, 3)
    np.testing.assert_array_equal(images_BHWC[:, ::FACTOR, ::FACTOR, 1], tokens_BHW)
    seen_BHW = windows.encode_windows(encode, images_BHWC, WINDOW, FACTOR)
    assert seen_BHW.dtype == np.int32
    np.testing.assert_array_equal(seen_BHW, tokens_BHW)


def test_one_window_is_the_tokenizer_itself():
    images_BHWC = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    whole = (slice(0, 4), slice(0, 6))
    tokens_BHW = np.zeros((2, 4, 6), np.int32)
    got = windows.decode_windows(lambda tokens: images_BHWC, tokens_BHW, [whole], FACTOR)
    np.testing.assert_array_equal(got, images_BHWC)


def test_tokens_come_from_the_window_they_lie_deepest_in():
    """Each window's tokens say where it began: the border of a window is never the answer."""
    positions_BHWC = np.zeros((1, 8, 32, 3), np.uint8)
    positions_BHWC[..., 0] = np.arange(32) // FACTOR

    def where(images_BHWC):
        return np.full((1, WINDOW[0] * WINDOW[1]), images_BHWC[0, 0, 0, 0])

    start_W = windows.encode_windows(where, positions_BHWC, WINDOW, FACTOR)[0, 0]
    assert start_W.tolist() == sorted(start_W)
    inside_W = np.arange(16) - start_W
    assert (inside_W[2:-2] >= 1).all() and (inside_W[2:-2] <= 4).all()


def test_where_windows_overlap_they_blend():
    tokens_BHW = np.zeros((1, 4, 9), np.int32)
    areas = windows.window_areas((slice(0, 4), slice(0, 6)), (4, 9), WINDOW, (1, 3))
    values = iter((0, 100))
    images_BHWC = windows.decode_windows(
        lambda tokens: np.full((1, 8, 12, 3), next(values), np.uint8), tokens_BHW, areas, FACTOR
    )
    row_W = images_BHWC[0, 4, :, 0].astype(int)
    assert (row_W[:6] == 0).all() and (row_W[12:] == 100).all() and (np.diff(row_W) >= 0).all()
    assert 0 < row_W[8] < 100
