"""Products of few rows by the weights of an MLP, in the layouts that XLA's CPU backend knows.

    python benchmarks/products_by_rows.py                   # rows of a decoding step: 18 to 128
    python benchmarks/products_by_rows.py 20 40 80

Two chained products, 1024 x 4096 and back, in turns; GFLOP/s by the processor time of the process,
which other processes disturb less than the clock. Transposed: weights lie as `[out, in]`. Padded:
rows up to 80. bfloat16: weights and rows rounded, sums in float32.
"""

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.models.products import ROWS_BY_COLUMNS, ROWS_BY_ROWS, multiply
from lpd_jax.runtime import provenance

WIDTH, MLP_WIDTH, REPEATS, PADDED = 1024, 4096, 15, 80
ROWS = (18, 32, 40, 48, 56, 64, 80, 128)


def chain(dimensions, dtype, pad_to=0) -> Callable:
    def run(x_RD, up, down):
        num_rows = len(x_RD)
        x_RD = jnp.pad(x_RD, ((0, max(0, pad_to - num_rows)), (0, 0)))
        for weights in (up, down):
            x_RD = multiply(x_RD.astype(dtype), weights, dimensions)
        return x_RD[:num_rows]

    return jax.jit(run)


def main() -> None:
    rows = tuple(map(int, sys.argv[1:])) or ROWS
    rng = np.random.default_rng(0)
    up = 0.03 * rng.standard_normal((WIDTH, MLP_WIDTH), np.float32)
    down = 0.03 * rng.standard_normal((MLP_WIDTH, WIDTH), np.float32)
    plain = tuple(map(jnp.asarray, (up, down)))
    layouts = {
        "plain": (chain(ROWS_BY_COLUMNS, jnp.float32), *plain),
        "transposed": (
            chain(ROWS_BY_ROWS, jnp.float32),
            *(jnp.asarray(np.ascontiguousarray(weights.T)) for weights in (up, down)),
        ),
        "padded": (chain(ROWS_BY_COLUMNS, jnp.float32, PADDED), *plain),
        "bfloat16": (
            chain(ROWS_BY_COLUMNS, jnp.bfloat16),
            *(weights.astype(jnp.bfloat16) for weights in plain),
        ),
    }
    print(f"{provenance.device_name()}, busy before: {provenance.load_average():.2g} processes")
    print("rows", *layouts)
    for num_rows in rows:
        x_RD = jnp.asarray(rng.standard_normal((num_rows, WIDTH), np.float32))
        seconds: dict[str, list[float]] = {name: [] for name in layouts}
        for i in range(1 + REPEATS):
            for name, (run, *weights) in layouts.items():
                start = time.process_time()
                run(x_RD, *weights).block_until_ready()
                if i:
                    seconds[name].append(time.process_time() - start)
        flops = 2 * 2 * num_rows * WIDTH * MLP_WIDTH
        rates = (flops / np.median(taken) / 1e9 for taken in seconds.values())
        print(num_rows, *(f"{rate:.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
