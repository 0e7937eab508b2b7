"""Memory that programs on a CPU free and take again, kept by the process while it is timed."""

import ctypes
import importlib.metadata
import importlib.util
from typing import Any

import jax

# Parameters of mallopt, in glibc's <malloc.h>.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Lets the C library hand nothing back to the system.

    A compiled program takes its temporary arrays anew in every call. By default each large one is
    a mapping of its own, whose pages the system clears at first touch: 5 GB of them in a training
    step of LPD-L of 2 pictures, which take the system up to 8 s. Kept, pieces get lost between
    others, and the process slowly grows: nothing for a long training. To be called before JAX
    starts its backend: threads with memory of their own keep it.

    Returns:
        Whether it does: where JAX knows of no other device, and the C library is glibc.
    """
    if not only_cpu():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena, since others map what is large; it never shrinks. Each call returns 1 for success.
    choices = ((MMAP_MAX, 0), (ARENA_MAX, 1), (TRIM_THRESHOLD, -1))
    return all([mallopt(name, value) == 1 for name, value in choices])


def give_back_freed_memory() -> None:
    """Hands what is free now to the system, for what is larger than all that was before.

    Kept pieces between others that are in use serve no array larger than they are.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def only_cpu() -> bool:
    """Whether JAX will run on the CPU: asked for, or nothing else installed. Starts no backend."""
    config: Any = jax.config  # its type does not tell of options
    if config.jax_platforms:
        return config.jax_platforms == "cpu"
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return not plugins and importlib.util.find_spec("libtpu") is None
