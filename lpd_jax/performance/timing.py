"""Seconds: of compiling, from nothing and from a cache, and of running, taken in turns."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

CACHE_OPTIONS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}

LONG_RUN = 120.0  # seconds; of so long a run, what warms it up is no part to speak of


class Quartiles(NamedTuple):
    """Repeated measurements: the middle one, the middle half, the fastest, how many."""

    median: float
    lower_quartile: float
    upper_quartile: float
    fastest: float
    num_runs: int


def quartiles(seconds: list[float]) -> Quartiles:
    """Quartiles as points between measurements; a single measurement is all of them."""
    if len(seconds) == 1:
        return Quartiles(seconds[0], seconds[0], seconds[0], seconds[0], 1)
    lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    return Quartiles(median, lower, upper, min(seconds), len(seconds))


def time_in_turns(
    runners: Mapping[str, Callable[[], object]], num_repeats: int
) -> dict[str, Quartiles]:
    """Runs all of them once, then all again: what slows the machine down slows all of them.

    Args:
        runners: each returns when its work is done.
        num_repeats: times that count after one that does not; where a first run takes LONG_RUN or
            longer, it alone counts.
    """
    rounds = [time_each(runners)]
    if max(rounds[0].values()) < LONG_RUN:
        rounds = [time_each(runners) for _ in range(num_repeats)]
    return {name: quartiles([times[name] for times in rounds]) for name in runners}


def time_each(runners: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of one run of each."""
    seconds = {}
    for name, run in runners.items():
        start = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - start
    return seconds


def compile_twice(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, float, float]:
    """The executable of a jitted function; seconds to make it, and to make it again.

    The second time, as in a process that starts later, tracing is done anew and the executable
    comes from the persistent compilation cache, here an empty one that lasts as long as this call.
    """
    with empty_compilation_cache():
        executable, first = compile_timed(function, arguments)
        jax.clear_caches()
        _, again = compile_timed(function, arguments)
    return executable, first, again


def compile_timed(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, float]:
    start = time.perf_counter()
    executable = function.lower(*arguments).compile()
    return executable, time.perf_counter() - start


@contextlib.contextmanager
def empty_compilation_cache() -> Iterator[None]:
    """A persistent cache that knows nothing, in place of the user's."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"jax_compilation_cache_dir": folder, **CACHE_OPTIONS}
        before = {name: getattr(jax.config, name) for name in options}
        set_cache(options)
        try:
            yield
        finally:
            set_cache(before)


def set_cache(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it reads its options once
