"""Compiled programs, as many as fit: the one that was not used for longest goes first.

Each new schedule compiles some 30 MB of code in 600 memory maps, of which Linux gives a process
65,530: one that keeps every program dies of variety. So programs are bounded by count in each
pipeline, and in the whole process by their maps, and by their bytes where XLA tells them (it does
on accelerators; CPUs say 0).
"""

import collections
import contextlib
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lpd_jax.generation.generate import generate_ranked_tokens
from lpd_jax.models.pixels import decode_images, encode_images

MOST_PROGRAMS = 48  # of a pipeline
MOST_BYTES = 2**31  # of code, of all pipelines
SHARE_OF_MAPS = 0.5  # of those that the system allows; the other half is everything else's
MAPS, MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")

TRACED: Any = (generate_ranked_tokens, encode_images, decode_images)

_clock = itertools.count(1)
_lock = threading.RLock()  # of all bookkeeping; nothing is compiled while it is held


class Kept(NamedTuple):
    program: Any
    num_bytes: int
    last_use: int


class Programs:
    """Programs by what they were compiled for; pickles and copies without them."""

    def __init__(self, most: int = MOST_PROGRAMS):
        self.most, self.num_compiled = most, 0
        self._turns: dict[Hashable, threading.Lock] = {}  # of those that are being compiled
        self._kept: collections.OrderedDict[Hashable, Kept] = collections.OrderedDict()
        with _lock:
            _all.add(self)

    def find(self, key: Hashable, compile_program: Callable[[], Any]) -> Any:
        """The program of a key, compiled now if it is not there, by one thread alone.

        The precision of products is the caller's (`jax.default_matmul_precision`), and compiled in.
        """
        settings: Any = jax.config  # JAX tells type checkers nothing of its names
        key = key, settings.jax_default_matmul_precision
        with _lock:
            turn = self._turns.setdefault(key, threading.Lock())
        try:
            with turn:
                return self._find(key, compile_program)
        finally:
            with _lock:
                self._turns.pop(key, None)

    def _find(self, key: Hashable, compile_program: Callable[[], Any]) -> Any:
        kept = self._kept.get(key)
        if is_new := kept is None:
            program = compile_program()
            kept = Kept(program, code_bytes(program), 0)
        with _lock:  # others look through what is kept, and drop it
            self.num_compiled += is_new
            self._kept[key] = kept._replace(last_use=next(_clock))
            self._kept.move_to_end(key)
            if is_new:
                make_room(self)
        return kept.program

    def drop_oldest(self) -> None:
        self._kept.popitem(last=False)

    @property
    def last_use(self) -> int:
        """Of the program that was not used for longest."""
        return next(iter(self._kept.values())).last_use

    @property
    def num_bytes(self) -> int:
        return sum(kept.num_bytes for kept in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type["Programs"], tuple[int]]:
        return Programs, (self.most,)


_all: weakref.WeakSet[Programs] = weakref.WeakSet()


def make_room(newest: Programs) -> None:
    """Drops programs, after one was compiled, until all bounds hold; that one stays."""
    dropped = False
    while len(newest) > newest.most:
        newest.drop_oldest()
        dropped = True
    while is_crowded():
        others = [one for one in _all if len(one) > (one is newest)]
        if not others:
            break
        min(others, key=lambda one: one.last_use).drop_oldest()
        dropped = True
        gc.collect()  # maps are given back with the last reference, some of them in circles
    if dropped:
        for function in TRACED:  # JAX keeps what it traced, for every schedule and size
            function.clear_cache()
        gc.collect()


def is_crowded() -> bool:
    """Whether the pipelines of this process hold more maps, or bytes of code, than they may."""
    return num_maps() > SHARE_OF_MAPS * most_maps() or sum(x.num_bytes for x in _all) > MOST_BYTES


def num_maps() -> int:
    """Memory maps of this process; 0 where the system does not say."""
    with contextlib.suppress(OSError), MAPS.open("rb") as file:
        return sum(1 for _ in file)
    return 0


def most_maps() -> float:
    """Memory maps that the system allows a process; infinite where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        return float(MOST_MAPS.read_text())
    return float("inf")


def code_bytes(program: Any) -> int:
    """Bytes of a program's code on its device; 0 where XLA does not say."""
    with contextlib.suppress(Exception):  # not every backend answers, nor in the same way
        return int(program.memory_analysis().generated_code_size_in_bytes)
    return 0
