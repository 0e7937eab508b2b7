import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from lpd_jax.performance import timing


def test_repeated_measurements_are_told_by_quartiles():
    assert timing.quartiles([4.0, 1.0, 3.0, 2.0, 10.0]) == (3.0, 2.0, 4.0, 1.0, 5)
    assert timing.quartiles([2.0]) == (2.0, 2.0, 2.0, 2.0, 1)


def test_runners_take_turns_and_warm_up(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def runner(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds + 100 * (len(calls) <= 2)  # the first run of each is slow

        return run

    timed = timing.time_in_turns({"ours": runner("a", 1.0), "peer": runner("b", 3.0)}, 3)
    assert "".join(calls) == "abababab"
    assert (timed["ours"].median, timed["peer"].median) == (1.0, 3.0)
    assert timed["ours"].num_runs == 3 and timed["peer"].upper_quartile == 3.0


def test_a_run_of_minutes_is_the_only_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def run():
        clock[0] += timing.LONG_RUN

    timed = timing.time_in_turns({"ours": run, "peer": lambda: None}, 3)
    assert timed["ours"] == timing.quartiles([timing.LONG_RUN]) and timed["peer"].num_runs == 1


@pytest.fixture
def cache_events():
    """Names of what happens to the persistent compilation cache."""
    events = []
    jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
    return events


def test_the_second_compilation_comes_from_a_cache_that_was_empty(cache_events, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))  # the user's own
    try:
        ones = jnp.ones(3)
        for _ in range(2):
            cache_events.clear()
            function = jax.jit(lambda x: jnp.sin(x) * 3)
            executable, first, again = timing.compile_twice(function, (ones,))
            hits = [name.rpartition("/")[2] for name in cache_events]
            assert hits.count("cache_misses") == 1 and hits.count("cache_hits") == 1
        assert first > 0 and again > 0
        assert executable(jnp.ones(3)) == pytest.approx(jnp.sin(jnp.ones(3)) * 3)
        assert jax.config.jax_compilation_cache_dir == str(tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
