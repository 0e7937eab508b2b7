"""How the weights of a transformer lie while it draws: by input or by output, as the CPU likes it.

XLA's kernel for CPUs reads the second factor of a product in strips of columns. Of weights by input
each row of a strip is then a page away from the next, and strips are read again for every few rows
of activations: where the caches do not bear that, few rows take two or three times as long as they
need. By output, the weights are the first factor, which is read once and in one go.

Which is faster depends on the processor. It is measured once, and remembered in the user's cache.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lpd_jax.decoding.device_choices import target_device
from lpd_jax.models.dense import BY_OUTPUT
from lpd_jax.models.products import plain_product, product_by_output
from lpd_jax.runtime.measured_choices import remembered

LEAST_SIDE = 512  # of a matrix that lies by output: smaller ones stay in the caches
# What is measured: the rows that one guided picture feeds at the median of 20 steps, by an MLP's.
TRIAL_ROWS, TRIAL_SHAPE, TRIAL_REPEATS = 40, (1024, 4096), 5
# Measured on an Intel Xeon: 36, 48 and 64 rows take as long, and so do 72, 80 and 96.
PAID_STRIP = 32
LEAST_GAIN = 1.1  # by less than that, the layout is left as it is


def lay_out(params: Any) -> Any:
    """Parameters for drawing on the device that JAX runs on: matrices by output where that pays."""
    if not any(map(is_large, jax.tree.leaves(params))) or not by_output_is_faster():
        return params
    return replace_matrices(params, "kernel", BY_OUTPUT)


def lay_back(params: Any) -> Any:
    """Undoes `lay_out`, on the host."""
    return replace_matrices(params, BY_OUTPUT, "kernel")


def replace_matrices(params: Any, old: str, new: str) -> Any:
    """Turns each large matrix of one name and gives it the other."""
    if isinstance(params, tuple):
        return tuple(replace_matrices(part, old, new) for part in params)
    if not isinstance(params, Mapping):
        return params
    if old in params and is_large(params[old]):
        # Turned on the host, it is a view, and what puts it on the device moves the numbers.
        others = {name: leaf for name, leaf in params.items() if name != old}
        return {new: params[old].T, **others}
    return {name: replace_matrices(part, old, new) for name, part in params.items()}


def is_large(leaf: Any) -> bool:
    return leaf.ndim == 2 and min(leaf.shape) >= LEAST_SIDE


def row_strip(params: Any) -> int:
    """Rows in whose multiples a model with these parameters computes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    by_output = any(path[-1] == jax.tree_util.DictKey(BY_OUTPUT) for path, _ in leaves)
    return PAID_STRIP if by_output else 1


def by_output_is_faster() -> bool:
    """Whether float32 rows of a decoding step take less time so; the processor's to say."""
    if target_device().platform != "cpu" or jax.process_count() > 1:  # processes must agree
        return False
    return remembered("weights_by_output", measure_gain) >= LEAST_GAIN


def measure_gain() -> float:
    """Time by input over time by output, of a product of few rows on the CPU."""
    with jax.ensure_compile_time_eval():
        cpu = jax.local_devices(backend="cpu")[0]
        rows = np.ones((TRIAL_ROWS, TRIAL_SHAPE[0]), np.float32)
        weights = np.ones(TRIAL_SHAPE, np.float32)
        runs = [
            functools.partial(jax.jit(product), *jax.device_put((rows, laid), cpu))
            for product, laid in ((plain_product, weights), (product_by_output, weights.T))
        ]
        by_input, by_output = least_seconds(runs)
    return by_input / by_output


def least_seconds(runs: Sequence[Callable[[], jax.Array]]) -> list[float]:
    """Of several runs in turns, so that a busy machine slows all."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(1 + TRIAL_REPEATS):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run().block_until_ready()
            taken.append(time.perf_counter() - start)
    return [min(taken[1:]) for taken in seconds]
