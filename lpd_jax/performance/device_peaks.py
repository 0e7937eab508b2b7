"""How fast the device is at best: one large matrix product, one large copy."""

import dataclasses

import jax
import jax.numpy as jnp

from lpd_jax.models.products import plain_product, product_by_output
from lpd_jax.performance.timing import time_in_turns

# By platform: sides of the matrices, items of the array; large enough to fill any other device.
SIZES = {"cpu": (3072, 2**27)}
LARGE_SIZES = (8192, 2**28)
NUM_REPEATS = 9


@dataclasses.dataclass(frozen=True)
class DevicePeaks:
    """What no program exceeds, measured in the same run as the programs.

    matmul_flops: FLOP/s of a square product, by dtype.
    copy_bandwidth: bytes/s, read and written together.
    """

    matmul_flops: dict[str, float]
    copy_bandwidth: float


def measure_peaks(dtypes: tuple[str, ...]) -> DevicePeaks:
    """The fastest of a few runs each."""
    side, items = SIZES.get(jax.default_backend(), LARGE_SIZES)
    rates = {dtype: 2 * side**3 / time_product(side, dtype) for dtype in dtypes}
    return DevicePeaks(rates, 2 * 4 * items / time_copy(items))


def time_product(side: int, dtype: str) -> float:
    """Seconds of a product of two square matrices, the weights by input or by output."""
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (side, side), jnp.dtype(dtype)) for key in keys)
    # As models multiply: a CPU's matrix units are reached by these, and not by `jnp.matmul`.
    runs = {}
    for multiply in (plain_product, product_by_output):
        product = jax.jit(multiply)
        runs[multiply.__name__] = lambda product=product: jax.block_until_ready(
            product(left, right)
        )
    return min(times.fastest for times in time_in_turns(runs, NUM_REPEATS).values())


def time_copy(items: int) -> float:
    """Seconds to read and write an array of float32."""
    # In place: a new array would be paid for page by page, and read before it is written.
    negate = jax.jit(jnp.negative, donate_argnums=0)
    held = [jnp.ones(items, jnp.float32)]

    def run() -> None:
        held.append(jax.block_until_ready(negate(held.pop())))

    return time_in_turns({"copy": run}, NUM_REPEATS)["copy"].fastest
