"""Products of few rows by the weights of an MLP, in the two ways that weights may lie.

    python benchmarks/products_by_rows.py                   # rows of a decoding step: 4 to 128
    python benchmarks/products_by_rows.py 20 40 80

Layers of two products, 1024 x 4096 and back, in turns; GFLOP/s by the processor time of the
process, which other processes disturb less than the clock. By input, weights lie as `[in, out]`, by
output as `[out, in]`: what `lpd_jax/models/weight_layout.py` chooses between.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.models.products import plain_product, product_by_output
from lpd_jax.models.weight_layout import measure_gain
from lpd_jax.runtime import provenance

WIDTH, MLP_WIDTH, LAYERS, REPEATS = 1024, 4096, 4, 9  # more than the caches of a core hold
ROWS = (4, 12, 18, 32, 40, 48, 56, 64, 80, 128)
PRODUCTS = {"by input": plain_product, "by output": product_by_output}
DTYPES = {"": jnp.float32, "bfloat16 ": jnp.bfloat16}


def main() -> None:
    rows = tuple(map(int, sys.argv[1:])) or ROWS
    rng = np.random.default_rng(0)
    print(f"{provenance.device_name()}, busy before: {provenance.load_average():.2g} processes")
    print(f"by output, at load: {measure_gain():.2f} times as fast")
    runs = {}
    for prefix, dtype in DTYPES.items():
        for name, product in PRODUCTS.items():
            layers = [mlp_weights(rng, dtype, turned=name == "by output") for _ in range(LAYERS)]
            runs[prefix + name] = jax.jit(chain(product, dtype)), layers
    print("rows", *runs, sep=", ")
    for num_rows in rows:
        x_RD = jnp.asarray(rng.standard_normal((num_rows, WIDTH), np.float32))
        flops = LAYERS * 2 * 2 * num_rows * WIDTH * MLP_WIDTH
        rates = (flops / seconds / 1e9 for seconds in seconds_in_turns(runs, x_RD))
        print(num_rows, *(f"{rate:.0f}" for rate in rates), flush=True)


def mlp_weights(rng, dtype, turned: bool) -> list[jax.Array]:
    shapes = (WIDTH, MLP_WIDTH), (MLP_WIDTH, WIDTH)
    weights = [0.03 * rng.standard_normal(shape, np.float32) for shape in shapes]
    return [jnp.asarray(w_DF.T if turned else w_DF, dtype) for w_DF in weights]


def chain(product, dtype):
    def run(x_RD, layers):
        for up, down in layers:
            x_RD = product(product(x_RD.astype(dtype), up), down)
        return x_RD

    return run


def seconds_in_turns(runs, x_RD) -> list[float]:
    """Median processor time of each."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(1 + REPEATS):
        for name, (run, layers) in runs.items():
            start = time.process_time()
            run(x_RD, layers).block_until_ready()
            if i:
                seconds[name].append(time.process_time() - start)
    return [float(np.median(taken)) for taken in seconds.values()]


if __name__ == "__main__":
    main()
