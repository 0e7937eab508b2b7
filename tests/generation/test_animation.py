import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import animation

GRID = (2, 3)
SCHEDULE = GroupSchedule((1, 2, 3))


def decode(tokens_BN):
    """Cells of 2x2 pixels as bright as their token."""
    cells_BHW = np.asarray(tokens_BN, np.uint8).reshape(-1, *GRID)
    pixels_BHW = cells_BHW.repeat(2, axis=1).repeat(2, axis=2)
    return np.repeat(pixels_BHW[..., None], 3, axis=-1)


def test_cells_appear_group_by_group_at_their_places():
    tokens_BN = np.array([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]])
    order_BN = np.array([[5, 0, 1, 2, 3, 4], [0, 3, 4, 5, 1, 2]])
    steps = animation.partial_images(decode, tokens_BN, order_BN, SCHEDULE, GRID)
    frames_SBHWC = np.stack(list(steps))
    cells_SBN = frames_SBHWC[:, :, ::2, ::2, 0].reshape(3, 2, 6)
    grey = animation.UNDRAWN
    expected_SBN = [
        [[grey] * 5 + [15], [20] + [grey] * 5],
        [[10, 11, grey, grey, grey, 15], [20, grey, grey, 23, 24, grey]],
        [[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]],
    ]
    np.testing.assert_array_equal(cells_SBN, expected_SBN)
    np.testing.assert_array_equal(frames_SBHWC[-1], decode(tokens_BN))


def test_the_frames_of_a_clip_appear_with_their_cells():
    """The first cell along time is one frame, each other four."""

    def decode_clip(tokens_BN):
        cells_BTHW = np.asarray(tokens_BN, np.uint8).reshape(-1, 2, 1, 2)
        frames_BTHW = np.concatenate([cells_BTHW[:, :1], cells_BTHW[:, 1:].repeat(4, axis=1)], 1)
        return np.repeat(frames_BTHW[..., None], 3, axis=-1)

    tokens_BN, order_BN = np.array([[10, 11, 12, 13]]), np.array([[0, 1, 2, 3]])
    schedule = GroupSchedule((1, 2, 1))
    steps = list(animation.partial_images(decode_clip, tokens_BN, order_BN, schedule, (2, 1, 2)))
    grey = animation.UNDRAWN
    assert steps[0].shape == (1, 5, 1, 2, 3)
    assert steps[0][0, :, 0, :, 0].tolist() == [[10, grey], *[[grey, grey]] * 4]
    assert steps[1][0, :, 0, :, 0].tolist() == [[10, 11], *[[12, grey]] * 4]
    np.testing.assert_array_equal(steps[2], decode_clip(tokens_BN))


def test_the_decoder_never_sees_a_token_that_is_still_to_come():
    """Empty cells take the nearest drawn token: nothing of the future can leak into a frame."""
    seen = []

    def spy(tokens_BN):
        seen.append(tokens_BN)
        return decode(tokens_BN)

    tokens_BN = np.array([[10, 11, 12, 13, 14, 15]])
    order_BN = np.array([[5, 0, 1, 2, 3, 4]])
    list(animation.partial_images(spy, tokens_BN, order_BN, SCHEDULE, GRID))
    np.testing.assert_array_equal(seen[0], [[15] * 6])
    np.testing.assert_array_equal(seen[1][0, [0, 1, 5]], [10, 11, 15])
    assert seen[1][0, 3] == 10
    assert seen[1][0, 4] in (11, 15)
