"""Plans of edits: what is known comes first, and masks of about one size share a frame."""

import numpy as np
import pytest

from lpd_jax.decoding import known_tokens
from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule


def random_known(num_tokens: int, num_known: int, batch_size: int = 3) -> np.ndarray:
    random = np.random.default_rng(num_known)
    known_BN = np.zeros((batch_size, num_tokens), bool)
    for known_N in known_BN:
        known_N[random.permutation(num_tokens)[:num_known]] = True
    return known_BN


@pytest.mark.parametrize(("num_tokens", "whole_steps"), [(16, 4), (16, 16), (15, 1), (256, 20)])
def test_every_count_fits_the_frame_of_its_range(num_tokens, whole_steps):
    frames = set()
    for num_known in range(1, num_tokens):
        frame = known_tokens.make_frame(num_tokens, num_known, whole_steps)
        frames.add(frame)
        table = known_tokens.frame_table(num_tokens, num_known, frame)
        assert num_known <= frame.most_known
        assert [len(column) for column in table] == [frame.schedule.num_steps] * 3
        # Each token left is asked for once, and no step asks for more than it has room for.
        asked = [np.arange(*pair) for pair in zip(table[1], table[2], strict=True)]
        assert np.concatenate(asked).tolist() == list(range(num_known + 1, num_tokens + 1))
        assert all(map(np.less_equal, map(len, asked), frame.schedule.group_sizes))
        schedule = known_tokens.left_schedule(num_tokens - num_known, frame)
        assert list(schedule.group_sizes) == [len(group) for group in asked if len(group)]
    assert len(frames) <= known_tokens.NUM_RANGES


def test_an_edit_takes_its_share_of_the_steps():
    shares = [known_tokens.share_of_steps(256, left, 20) for left in (255, 128, 64, 16, 1)]
    assert shares == [20, 13, 8, 3, 1]
    assert known_tokens.share_of_steps(256, 100, 256) == 100  # one token a step stays that
    assert known_tokens.share_of_steps(256, 100, 1) == 1
    with pytest.raises(
        ValueError, match="num_known: got 16, allowed are whole numbers from 1 to 15"
    ):
        known_tokens.make_frame(16, 16, 4)
    with pytest.raises(
        ValueError, match="num_steps: got 17, allowed are whole numbers from 1 to 16"
    ):
        known_tokens.make_frame(16, 3, 17)


def test_known_positions_come_first_and_the_rest_keeps_its_order():
    known_BN = random_known(20, 7)
    order_BN = np.stack([np.random.default_rng(i).permutation(20) for i in range(3)])
    first_BN = known_tokens.known_first(order_BN, known_BN)
    for first_N, order_N, known_N in zip(first_BN, order_BN, known_BN, strict=True):
        assert known_N[first_N[:7]].all()
        assert first_N[7:].tolist() == [p for p in order_N if not known_N[p]]
    np.testing.assert_array_equal(
        known_tokens.known_first(order_BN, np.zeros_like(known_BN)), order_BN
    )


def test_the_rest_is_a_permutation_of_what_is_not_known():
    known_BN = random_known(24, 9)
    rest = known_tokens.locality_order_of_rest(
        (4, 6), GroupSchedule((1, 4, 10)), known_BN, np.arange(3), seed=1
    )
    for rest_R, known_N in zip(rest, known_BN, strict=True):
        assert sorted(rest_R) == np.flatnonzero(~known_N).tolist()
    # An image's order depends on its own index and mask.
    alone = known_tokens.locality_order_of_rest(
        (4, 6), GroupSchedule((1, 4, 10)), known_BN[2:], np.array([2]), seed=1
    )
    np.testing.assert_array_equal(alone[0], rest[2])


def test_with_nothing_known_it_is_the_order_of_a_picture():
    schedule = make_schedule(64, 8)
    plain_BN = make_order("locality", (8, 8), schedule, num_orders=4, seed=3)
    nothing_BN = np.zeros((4, 64), bool)
    rest = known_tokens.locality_order_of_rest((8, 8), schedule, nothing_BN, np.arange(4), seed=3)
    np.testing.assert_array_equal(rest, plain_BN)


def test_what_is_known_counts_as_drawn():
    """The left half is known, so the first cell is beside it."""
    known_HW = np.zeros((8, 8), bool)
    known_HW[:, :4] = True
    rest = known_tokens.locality_order_of_rest(
        (8, 8),
        GroupSchedule((1,) * 32),
        np.tile(known_HW.reshape(-1), (20, 1)),
        np.arange(20),
    )
    assert set(rest[:, 0] % 8) == {4}
    # It grows from there: whatever is drawn has a neighbour by then.
    for rest_R in rest:
        drawn_HW = np.pad(known_HW, 1)
        for row, column in zip(*np.divmod(rest_R, 8), strict=True):
            assert drawn_HW[row : row + 3, column : column + 3].any()
            drawn_HW[row + 1, column + 1] = True


def test_a_later_group_does_not_gather_where_tokens_are_known():
    """Repulsion: of a group of four in an empty right half, no two touch."""
    known_HW = np.zeros((16, 16), bool)
    known_HW[:, :8] = True
    rest = known_tokens.locality_order_of_rest(
        (16, 16),
        GroupSchedule((4, 124)),
        np.tile(known_HW.reshape(-1), (8, 1)),
        np.arange(8),
        repulsion_threshold=2,
    )
    rows, columns = np.divmod(rest[:, :4], 16)
    assert set(columns.reshape(-1)) == {8}
    assert (np.diff(np.sort(rows, axis=1), axis=1) > 2).all()
