"""The profiler's window."""

import pytest

from lpd_jax.training.profiling import NO_PROFILE, Profiler, ProfileWindow


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
