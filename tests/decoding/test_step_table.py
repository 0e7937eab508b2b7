"""One rule decides who sees whom: official masks, the two views of it, and where to cut scans."""

import itertools
import math
import pathlib

import numpy as np
import pytest

from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.decoding.step_table import (
    RowStrips,
    StepTable,
    decoding_mask,
    make_segment,
    make_segments,
    make_step_table,
    padded_rows,
    teacher_forcing_mask,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
RAGGED = ((1, 3, 5, 7), (2, 1, 6, 3, 4), (7, 1, 1, 1), (1, 7, 1, 1), (5,), (1, 1, 1))


def test_table_of_the_docstring():
    table = make_step_table(GroupSchedule((1, 2, 1)))
    assert np.array(table).T.tolist() == [[0, 1, 2], [1, 2, 4], [2, 4, 5]]


@pytest.mark.parametrize("sizes", RAGGED)
def test_every_token_is_asked_for_once_and_fed_back_once(sizes):
    previous_start_S, query_start_S, query_end_S = make_step_table(GroupSchedule(sizes))
    asked = [range(*pair) for pair in zip(query_start_S, query_end_S, strict=True)]
    fed = [range(*pair) for pair in zip(previous_start_S, query_start_S, strict=True)]
    assert list(itertools.chain(*asked)) == list(range(1, sum(sizes) + 1))
    assert fed == [range(1), *asked[:-1]]


# The masks were made by the official code. They change only with that code.
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("1_3_5_7", (1, 3, 5, 7)),
        ("16x1", (1,) * 16),
        ("all16", (1, 15)),
        ("256_20", make_schedule(256, 20).group_sizes),
    ],
)
def test_training_mask_is_the_official_one(name, sizes):
    with np.load(GOLDEN / "lpd_extras.npz") as golden:
        bits, side = golden[f"mask/{name}"], int(golden[f"mask/{name}_S"])
    official_TT = np.unpackbits(bits, axis=1)[:, :side].astype(bool)
    ours_TT = np.asarray(teacher_forcing_mask(GroupSchedule(sizes).group_of_rank()))
    num_tokens = sum(sizes)
    assert ours_TT.shape == (2 * num_tokens, 2 * num_tokens)
    # The official rows leave out the last group as context; ours keep it, and nobody sees it.
    is_last_T = np.zeros(2 * num_tokens, bool)
    is_last_T[1 + num_tokens - sizes[-1] : num_tokens] = True
    np.testing.assert_array_equal(ours_TT[~is_last_T][:, ~is_last_T], official_TT)
    assert not ours_TT[~is_last_T][:, is_last_T].any()


def test_training_mask_is_that_of_the_golden_model():
    with np.load(GOLDEN / "lpd_tiny16.npz") as golden:
        official_TT = golden["train_mask"]
    ours_TT = np.asarray(teacher_forcing_mask(GroupSchedule((1, 3, 5, 7)).group_of_rank()))
    kept = np.r_[:10, 16:32]
    np.testing.assert_array_equal(ours_TT[np.ix_(kept, kept)], official_TT)


@pytest.mark.parametrize("sizes", RAGGED[1:3])
@pytest.mark.parametrize("num_segments", [1, 2])
def test_decoding_mask_and_training_mask_are_one_rule(sizes, num_segments):
    schedule = GroupSchedule(sizes)
    num_tokens = schedule.num_tokens
    training_TT = np.asarray(teacher_forcing_mask(schedule.group_of_rank()))
    for segment in make_segments(schedule, num_segments):
        for i in range(segment.first_step, segment.first_step + segment.num_steps):
            previous_start, start, end = (int(column[i]) for column in make_step_table(schedule))
            mask_TM = np.asarray(decoding_mask(segment, StepTable(previous_start, start, end)))
            assert mask_TM.shape == (
                segment.previous_width + segment.query_width,
                segment.num_slots,
            )
            assert not mask_TM[:, end:].any()
            # In the cache: the context so far, then this group's queries in the slots they borrow.
            keys = np.r_[:start, num_tokens + start - 1 : num_tokens + end - 1]
            fed_back = mask_TM[: start - previous_start, :end]
            np.testing.assert_array_equal(fed_back, training_TT[previous_start:start][:, keys])
            asked = mask_TM[segment.previous_width :][: end - start, :end]
            np.testing.assert_array_equal(
                asked, training_TT[num_tokens:][start - 1 : end - 1, keys]
            )


@pytest.mark.parametrize("most_known", [4, 6])
def test_known_tokens_are_a_group_between_the_class_and_the_rest(most_known):
    schedule, num_known = GroupSchedule((2, 1, 3)), 4
    table = make_step_table(schedule, num_known)
    assert np.array(table).T.tolist() == [[0, 5, 7], [5, 7, 8], [7, 8, 11]]
    group_N = np.r_[[0] * num_known, 1 + schedule.group_of_rank()]
    training_TT = np.asarray(teacher_forcing_mask(group_N))
    for num_segments in (1, 2, 3):
        first = make_segments(schedule, num_segments, most_known)[0]
        assert first.previous_width == 1 + most_known
        mask_TM = np.asarray(decoding_mask(first, StepTable(*(column[0] for column in table))))
        keys = np.r_[:5, 10 + 4 : 10 + 6]
        np.testing.assert_array_equal(mask_TM[:5, :7], training_TT[:5][:, keys])
        queries_QM = mask_TM[first.previous_width :][:2, :7]
        np.testing.assert_array_equal(queries_QM, training_TT[10:][4:6][:, keys])
        assert not mask_TM[:, 7:].any()
        # In later steps of the same scan no row is the class.
        if first.num_steps > 1:
            later_TM = np.asarray(decoding_mask(first, StepTable(*(x[1] for x in table))))
            assert later_TM[: first.previous_width].sum(axis=1).tolist() == [7] * (1 + most_known)


@pytest.mark.parametrize("sizes", RAGGED)
@pytest.mark.parametrize("num_segments", [1, 2, 3, 9])
def test_segments_cover_all_steps_and_their_rows_fit_the_cache(sizes, num_segments):
    schedule = GroupSchedule(sizes)
    segments = make_segments(schedule, num_segments)
    assert 1 <= len(segments) <= num_segments
    steps = [range(s.first_step, s.first_step + s.num_steps) for s in segments]
    assert list(itertools.chain(*steps)) == list(range(schedule.num_steps))
    slots = [segment.num_slots for segment in segments]
    assert slots == sorted(slots)  # a cache grows
    previous_start_S, query_start_S, query_end_S = make_step_table(schedule)
    for segment, within in zip(segments, steps, strict=True):
        for i in within:
            # A write that reached past the end would be moved to the front by XLA.
            assert previous_start_S[i] + segment.previous_width <= segment.num_slots
            assert query_start_S[i] + segment.query_width <= segment.num_slots
            assert query_end_S[i] - query_start_S[i] <= segment.query_width
            assert query_start_S[i] - previous_start_S[i] <= segment.previous_width


@pytest.mark.parametrize(
    "sizes", [(1, 3, 5, 7), (2, 1, 6, 3, 4), (7, 1, 1, 1, 9, 1), (1, 1, 2, 2, 3, 3, 5)]
)
def test_no_other_cuts_pad_less(sizes):
    schedule = GroupSchedule(sizes)
    steps = len(sizes)
    for num_segments in range(1, steps + 2):
        least = min(
            padded_rows(
                tuple(
                    make_segment(schedule, *pair) for pair in itertools.pairwise((0, *cuts, steps))
                )
            )
            for count in range(min(num_segments, steps))
            for cuts in itertools.combinations(range(1, steps), count)
        )
        assert padded_rows(make_segments(schedule, num_segments)) == least


def test_where_rows_come_in_strips_cuts_save_strips():
    schedule = make_schedule(256, 20)

    def num_strips(segments):
        return sum(
            s.num_steps * math.ceil(2 * (s.previous_width + s.query_width) / 32) for s in segments
        )

    plain, heeding = (
        make_segments(schedule, 4, strips=strips) for strips in (RowStrips(), RowStrips(32, 2))
    )
    assert num_strips(plain) == 47
    # As many as the steps need alone: 6 of one strip, 6 of two, 8 of three.
    assert num_strips(heeding) == 42 == num_strips(make_segments(schedule, 20))
    assert padded_rows(heeding) < 1.02 * padded_rows(plain)
    # Rows of many images fill their strips.
    many = make_segments(schedule, 4, strips=RowStrips(32, 32 * 8))
    assert many == plain


def test_rows_of_the_published_20_steps():
    schedule = make_schedule(256, 20)
    exact = padded_rows(make_segments(schedule, 20))
    assert exact == 1 + (256 - 20) + 256  # the class, all groups but the last, all queries
    ratios = [padded_rows(make_segments(schedule, k)) / exact for k in (1, 2, 3, 20, 100)]
    assert np.round(ratios, 2).tolist() == [1.62, 1.31, 1.2, 1.0, 1.0]


def test_at_least_one_segment():
    with pytest.raises(ValueError, match="num_segments: got 0, allowed are whole numbers from 1"):
        make_segments(GroupSchedule((1, 3)), 0)
