"""Products of few rows by weights that lie by output: the weights as the first factor, or the rows.

    python -m benchmarks.factors_by_rows                    # by YNNPACK
    XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= python -m benchmarks.factors_by_rows  # Eigen
    python -m benchmarks.factors_by_rows 20 40 80

The layers of `products_by_rows`, in turns; GFLOP/s by the clock, so that all cores count: nothing
else may run. `product_by_output` chooses between the two, and fills rows up to whole strips.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.products_by_rows import LAYERS, MLP_WIDTH, REPEATS, WIDTH, chain, mlp_weights
from lpd_jax.models.products import ROWS_BY_ROWS
from lpd_jax.runtime import provenance

ROWS = (16, 32, 40, 64, 80, 128, 256)


def weights_first(x_RD: jax.Array, w_FD: jax.Array) -> jax.Array:
    # Seen through, XLA would swap the factors back.
    return lax.optimization_barrier(lax.dot_general(w_FD, x_RD, ROWS_BY_ROWS)).T


def rows_first(x_RD: jax.Array, w_FD: jax.Array) -> jax.Array:
    return lax.dot_general(x_RD, w_FD, ROWS_BY_ROWS)


def main() -> None:
    rng = np.random.default_rng(0)
    layers = [mlp_weights(rng, jnp.float32, turned=True) for _ in range(LAYERS)]
    runs = [jax.jit(chain(product, jnp.float32)) for product in (weights_first, rows_first)]
    print(f"{provenance.device_name()}, busy before: {provenance.load_average():.2g} processes")
    print("rows, weights first, rows first")
    for num_rows in tuple(map(int, sys.argv[1:])) or ROWS:
        x_RD = jnp.asarray(rng.standard_normal((num_rows, WIDTH), np.float32))
        seconds = np.array([[clocked(run, x_RD, layers) for run in runs] for _ in range(REPEATS)])
        flops = LAYERS * 2 * 2 * num_rows * WIDTH * MLP_WIDTH
        print(num_rows, *(f"{flops / x / 1e9:.0f}" for x in np.median(seconds[1:], 0)), flush=True)


def clocked(run, x_RD, layers) -> float:
    start = time.perf_counter()
    run(x_RD, layers).block_until_ready()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
