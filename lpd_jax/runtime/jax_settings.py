"""What a program around us set in JAX, and what our own computations need."""

import contextlib
import os
from collections.abc import Iterator

import jax
import numpy as np

from lpd_jax.runtime.errors import UserError

_used_in: list[int] = []  # the process in which JAX computed for us first


@contextlib.contextmanager
def own_settings(what: str = "Pipeline") -> Iterator[None]:
    """Inside, JAX computes as it does by default; also a decorator.

    A mesh of `jax.set_mesh` knows none of our axes, guards against transfers stop the first array
    that comes from the host, programs compiled ahead cannot be had without jit, a program compiled
    in 32 bits does not take 64, Optax mixes types, and other bits of threefry draw other pictures.
    All of it is the thread's, and as before afterwards. What tells of errors (NaNs, leaks, ranks)
    and the precision of products stay as they are.

    Args:
        what: is called, for the error.

    Raises:
        UserError: inside of a function that JAX traces, where what is drawn would be a constant; or
            in a forked process, where JAX waits for threads that are not there.
    """
    if not _used_in:
        _used_in.append(os.getpid())
    if _used_in[0] != os.getpid():
        raise UserError(
            f"{what}: called in a process that was forked after JAX had been used, where JAX waits "
            "for ever, allowed are processes of multiprocessing.get_context('spawn')"
        )
    no_mesh = jax.sharding.Mesh(np.empty((), object), ())
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(jax.set_mesh(no_mesh))
        except ValueError:
            raise UserError(
                f"{what}: called in a function that JAX traces (jax.jit, vmap, grad, scan), "
                "allowed is outside of it: what it gives would be a constant there"
            ) from None
        stack.enter_context(jax.disable_jit(False))
        stack.enter_context(jax.transfer_guard("allow"))
        stack.enter_context(jax.enable_x64(False))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.threefry_partitionable(True))
        stack.enter_context(jax.debug_key_reuse(False))  # it takes folded keys for used ones
        yield
