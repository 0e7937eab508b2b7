"""Memory that programs on a CPU free and take again, kept by the process in between."""

import ctypes

import jax

# Parameters of mallopt, in glibc's <malloc.h>.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Lets the C library hand nothing back to the system.

    A compiled program takes its temporary arrays anew in every call. By default each large one is
    a mapping of its own, whose pages the system clears at first touch: 5 GB of them in a training
    step of LPD-L of 2 pictures. For scripts, which own their process; it holds on to its largest
    size.

    Returns:
        Whether it does: on a CPU, where the C library is glibc.
    """
    if jax.default_backend() != "cpu":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena, since others map what is large; it never shrinks. Each call returns 1 for success.
    choices = ((MMAP_MAX, 0), (ARENA_MAX, 1), (TRIM_THRESHOLD, -1))
    return all([mallopt(name, value) == 1 for name, value in choices])
