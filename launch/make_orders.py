"""Makes a bank of generation orders, or finds it in the cache, and prints where it is.

    python launch/make_orders.py
    python launch/make_orders.py --height=32 --width=32 --num_steps=48 --num_orders=10000
    python launch/make_orders.py --order=halton --num_orders=1000 --cache_dir=DIR

The file is .npy, one order per row: generation rank -> raster position.
"""

import time

from absl import flags

from lpd_jax.decoding.grid import check_grid
from lpd_jax.decoding.order_bank import load_or_make_bank
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_folder
from lpd_jax.runtime.errors import UserError

ORDER = flags.DEFINE_string("order", "locality", "raster, random, halton, locality or region.")
HEIGHT = flags.DEFINE_integer("height", 16, "Rows of the token grid.")
WIDTH = flags.DEFINE_integer("width", 16, "Columns of the token grid.")
NUM_STEPS = flags.DEFINE_integer("num_steps", None, "Decoding steps, 1 to the number of tokens.")
GROUP_SIZES = flags.DEFINE_list("group_sizes", None, "Tokens of each step, in place of num_steps.")
NUM_ORDERS = flags.DEFINE_integer("num_orders", 50_000, "Orders in the bank.")
SEED = flags.DEFINE_integer("seed", 0, "Another seed gives other orders.")
PROXIMITY_THRESHOLD = flags.DEFINE_float(
    "proximity_threshold", 1.0, "How much drawn neighbourhood makes a cell ready."
)
REPULSION_THRESHOLD = flags.DEFINE_integer(
    "repulsion_threshold", None, "Cells of a group this near to each other are set aside."
)
CACHE_DIR = flags.DEFINE_string("cache_dir", None, "Default: lpd_jax in the user's cache folder.")


def main() -> None:
    grid = check_grid((HEIGHT.value, WIDTH.value))
    group_sizes = None
    if GROUP_SIZES.value is not None:
        group_sizes = [parse_whole("group_sizes", text) for text in GROUP_SIZES.value]
    schedule = make_schedule(grid[0] * grid[1], NUM_STEPS.value, group_sizes)
    for flag in ("proximity_threshold", "repulsion_threshold"):
        if flags.FLAGS[flag].present and ORDER.value != "locality":
            raise UserError(f"{flag}: given with order {ORDER.value}, allowed with locality alone")
    if CACHE_DIR.value:
        check_output_folder("cache_dir", CACHE_DIR.value)
    start = time.perf_counter()
    bank = load_or_make_bank(
        *(ORDER.value, grid, schedule, NUM_ORDERS.value, SEED.value),
        proximity_threshold=PROXIMITY_THRESHOLD.value,
        repulsion_threshold=REPULSION_THRESHOLD.value,
        cache_dir=CACHE_DIR.value,
    )
    seconds = time.perf_counter() - start
    print(f"{len(bank)} {ORDER.value} orders in {seconds:.1f} s: {bank.path}")


if __name__ == "__main__":
    command_line.run(main)
