"""Draws from several seeds are one row, which says where they were drawn."""

import pytest

from lpd_jax.performance.timing import quartiles
from lpd_jax.studies import draws
from lpd_jax.studies.steps_report import explain_spread
from tests.study_rows import draw_of

GPU = {"device": "a GPU", "batch_size": 501, "jax": "0.9", "commit": "abc"}
CPU = {"device": "2 cores", "batch_size": 64, "jax": "0.10", "commit": "abc"}


def test_draws_of_one_model_are_pooled():
    judged = [draw_of(1.0, draw_seconds=2.0), draw_of(1.5, draw_seconds=4.0), draw_of(2.0)]
    row = draws.pool(judged)
    assert row["frechet_distance"] == pytest.approx(1.5) and row["draw_seconds"] == 3.0
    assert row["standard_deviation"] == pytest.approx(0.5)  # not that of resampled pictures
    assert (row["num_draws"], row["distances"]) == (3, [1.0, 1.5, 2.0])
    assert "over the seeds" in " ".join(explain_spread([row]))
    alone = draws.pool(judged[:1])
    assert (alone["frechet_distance"], alone["standard_deviation"]) == (1.0, 0.05)
    assert "bootstrap" in " ".join(explain_spread([alone]))


def test_a_row_tells_every_device_it_was_drawn_on_once():
    made = [draw_of(1.0, made_with=maker) for maker in (GPU, CPU, GPU)]
    row = draws.pool(made)
    assert row["made_with"] == [GPU, CPU]
    told = draws.describe_makers([row, draws.pool(made[:1])])
    assert told == {
        "drawn on": (
            "a GPU, 501 pictures at a time, jax 0.9; 2 cores, 64 pictures at a time, jax 0.10"
        ),
        "drawn at commit": "abc",
    }


@pytest.mark.parametrize("known", [[], [draw_of(1.0, made_with=GPU)]])
def test_what_no_draw_recorded_is_said(known):
    rows = [draws.pool([draw]) for draw in [*known, draw_of(2.0)]]
    told = draws.describe_makers(rows)
    assert told["drawn on"].endswith("not recorded")
    assert ("a GPU" in told["drawn on"]) == bool(known)


def test_a_cache_entry_without_a_maker_among_others_is_said_too():
    row = draws.pool([draw_of(1.0, made_with=GPU), draw_of(2.0)])
    assert draws.describe_makers([row])["drawn on"].endswith("; not recorded")


def test_seeds_are_different_whole_numbers():
    assert draws.checked_seeds(["0", "7"]) == [0, 7]
    assert draws.checked_seeds(None) == []
    for texts, words in (
        (["1", "2", "1"], "^seeds: got 1, 2, 1, allowed are different"),
        (["few"], "^seeds: got 'few'"),
        (["-1"], "^seed: got -1"),
    ):
        with pytest.raises(ValueError, match=words):
            draws.checked_seeds(texts)


def test_every_row_has_the_time_of_its_own_model():
    rows = [{"name": "a"}, {"name": "b"}]
    draws.add_latencies(rows, [quartiles([1.0, 2.0, 3.0]), quartiles([5.0])])
    assert [row["latency_seconds"] for row in rows] == [2.0, 5.0]
    assert [row["latency"]["num_runs"] for row in rows] == [3, 1]
