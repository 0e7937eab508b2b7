"""Rows by weights that lie by output, `[out, in]`: which of the two is the first factor.

Dimension key: R rows, D width in, F width out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lpd_jax.decoding.device_choices import target_device
from lpd_jax.runtime.measured_choices import least_seconds, remembered

ROWS_BY_COLUMNS, ROWS_BY_ROWS = (((1,), (0,)), ((), ())), (((1,), (1,)), ((), ()))
# What is measured: the rows that one guided picture feeds at the median of 20 steps, by an MLP's.
TRIAL_ROWS, TRIAL_SHAPE = 40, (1024, 4096)

multiply = functools.partial(lax.dot_general, preferred_element_type=jnp.float32)


def rows_first(x_RD: jax.Array, weights_FD: jax.Array) -> jax.Array:
    """Float32 `[R, F]`."""
    return multiply(x_RD, weights_FD, ROWS_BY_ROWS)


def weights_first(x_RD: jax.Array, weights_FD: jax.Array) -> jax.Array:
    """The same with rows as the second factor, which XLA for CPUs copies into strips beforehand."""
    y_FR = multiply(weights_FD, x_RD, ROWS_BY_ROWS)
    # Seen through, XLA would swap the factors back.
    return lax.optimization_barrier(y_FR).T


def halves_as_second_are_faster() -> bool:
    """Whether few rows in bfloat16 had better be the second factor; the processor's to say.

    With matrix units (AMX) they take less time so, and twice as much without.
    """
    if target_device().platform != "cpu" or jax.process_count() > 1:  # processes must agree
        return True
    return remembered("bfloat16_rows_second", measure_gain) > 1


def measure_gain() -> float:
    """Time with the rows first over time with the weights first, in bfloat16 on the CPU."""
    with jax.ensure_compile_time_eval():
        cpu = jax.local_devices(backend="cpu")[0]
        rows = np.ones((TRIAL_ROWS, TRIAL_SHAPE[0]), jnp.bfloat16)
        weights = np.ones(TRIAL_SHAPE[::-1], jnp.bfloat16)
        arguments = jax.device_put((rows, weights), cpu)
        first, second = least_seconds(
            [functools.partial(jax.jit(order), *arguments) for order in (rows_first, weights_first)]
        )
    return first / second
