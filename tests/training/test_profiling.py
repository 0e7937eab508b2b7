"""The profiler's window."""

import pytest

from lpd_jax.training import train
from lpd_jax.training.profiling import NO_PROFILE, Profiler, ProfileWindow
from tests.training import toy


@pytest.fixture
def calls(monkeypatch):
    """What the JAX profiler was told, and when."""
    seen = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder: seen.append(folder.name))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: seen.append("stop"))
    return seen


def run(profiler: Profiler, calls: list, steps: range) -> None:
    for step in steps:
        profiler.before(step)
        calls.append(step)
        profiler.after(step, None)
    profiler.close()


@pytest.mark.parametrize(
    ("window", "want"),
    [
        (NO_PROFILE, [1, 2, 3, 4, 5]),
        (ProfileWindow(2, 3), [1, "profile", 2, 3, 4, "stop", 5]),
        (ProfileWindow(5, 3), [1, 2, 3, 4, "profile", 5, "stop"]),  # the run ends before
        (ProfileWindow(9, 1), [1, 2, 3, 4, 5]),
    ],
)
def test_a_window_of_steps_is_recorded(window, want, calls, tmp_path):
    run(Profiler(window, tmp_path), calls, range(1, 6))
    assert calls == want


@pytest.mark.parametrize("window", [(0, 3), (5, 0), (-1, 3), (3, -1), (-1, -1)])
def test_a_window_that_records_nothing_is_refused(window):
    with pytest.raises(
        ValueError, match="^profile_start, profile_steps: got .* both from 1 on, or"
    ):
        ProfileWindow(*window)


def test_a_window_after_the_last_step_is_refused():
    ProfileWindow(5, 3).check_within(5)
    NO_PROFILE.check_within(5)
    with pytest.raises(ValueError, match="^profile_start: got 6, allowed are the steps of the run"):
        ProfileWindow(6, 1).check_within(5)


@pytest.mark.parametrize(
    ("first", "step", "line"),
    [
        (3, 0, None),
        (3, 2, None),
        (3, 3, "profile_start: step 3 is past, and is not recorded now; steps to come: 4 to 9"),
        (3, 9, "profile_start: step 3 is past, and is not recorded now; steps to come: none"),
    ],
)
def test_a_window_before_what_a_run_goes_on_with_is_told(first, step, line):
    assert ProfileWindow(first, 1).past(step, 9) == line
    assert NO_PROFILE.past(step, 9) is None


def test_a_run_that_goes_on_behind_the_window_says_so(tmp_path, monkeypatch, capsys):
    toy.install(monkeypatch)
    train(toy.MODEL, toy.config(1), tmp_path)
    assert "profile_start" not in capsys.readouterr().out
    train(toy.MODEL, toy.config(2), tmp_path, ProfileWindow(1, 1))
    assert capsys.readouterr().out.startswith("profile_start: step 1 is past, and is not recorded")
    assert not (tmp_path / "profile").exists()
