"""An order says which token of the grid is generated when: rank -> raster position.

It is data, a permutation for each image, and never fixes a shape: how many tokens a step writes
is the business of the schedule (`schedule.py`). Random draws come from a counter-based generator
addressed by (seed, index of the order): order i is the same however many are asked for.
"""

import math
import operator
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lpd_jax.decoding import locality, locality_cells
from lpd_jax.decoding.grid import MOST_TOKENS, check_grid
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.runtime.arguments import as_list, check_choice, check_number, check_whole
from lpd_jax.runtime.errors import UserError, shown

MOST_CELLS = 2**29  # of all orders of one call
HALTON_BASES = (5, 2, 3)  # of frames, rows and columns
ORDERS = ("raster", "random", "halton", "locality", "region")


def make_order(
    kind: str,
    grid: tuple[int, ...],
    schedule: GroupSchedule,
    *,
    num_orders: int,
    seed: int = 0,
    first_index: int = 0,
    proximity_threshold: float = 1.0,
    repulsion_threshold: int | None = None,
    num_regions: int | Sequence[int] = 4,
) -> np.ndarray:
    """Orders number `first_index` and up for a grid; order i depends on (seed, i).

    The grid is (height, width), or (frames, height, width) of a clip.

    raster: row by row, frame by frame, the same for all. random: a fresh permutation each. halton:
    the low-discrepancy sequence of `halton_order`, entered at a random place and wrapped around.
    locality: LPD's order (`locality.locality_orders`), in clips over three axes alike, the only
    kind that looks at the group sizes and the thresholds; `repulsion_threshold` None takes
    `locality.default_repulsion_threshold`. region: PAR's order (`region_order`), the same for all,
    the only kind that looks at `num_regions`.

    Returns:
        int32 [B, N]: rank -> raster position ((frame * height + row) * width + column).

    Raises:
        UserError: unknown kind, a grid that does not hold the schedule's tokens, negative
            thresholds, or a count or seed out of range.
    """
    check_kind(kind)
    grid, schedule = check_grid_holds(grid, schedule)
    num_tokens = schedule.num_tokens
    num_orders = check_whole("num_orders", num_orders, 1, MOST_CELLS // num_tokens)
    seed = check_whole("seed", seed, 0, 2**64 - 1)
    first_index = check_whole("first_index", first_index, 0, 2**64 - 1)
    if kind in ("raster", "region"):
        return np.tile(region_order(grid, 1 if kind == "raster" else num_regions), (num_orders, 1))
    if kind == "random":
        words_BN = random_words(seed, kind, first_index, num_orders, num_tokens)
        return np.argsort(words_BN, axis=1, kind="stable").astype(np.int32)
    if kind == "halton":
        words_B1 = random_words(seed, kind, first_index, num_orders, 1)
        return enter_anywhere(halton_order(grid), words_B1)
    thresholds = check_thresholds(num_tokens, proximity_threshold, repulsion_threshold, len(grid))
    return make_locality_orders(grid, schedule, thresholds, num_orders, seed, first_index)


def check_grid_holds(
    grid: tuple[int, ...], schedule: GroupSchedule
) -> tuple[tuple[int, ...], GroupSchedule]:
    """Both, where the grid has as many tokens as the schedule."""
    grid = check_grid(grid)
    num_tokens = math.prod(grid)
    if not isinstance(schedule, GroupSchedule):
        raise UserError(f"schedule: got {shown(schedule)}, allowed is a GroupSchedule")
    if schedule.num_tokens != num_tokens:
        raise UserError(
            f"grid: got {grid}, which has {num_tokens} tokens, allowed are grids of the "
            f"schedule's {schedule.num_tokens}"
        )
    return grid, schedule


def make_locality_orders(
    grid: tuple[int, ...],
    schedule: GroupSchedule,
    thresholds: tuple[float, int],
    num_orders: int,
    seed: int,
    first_index: int,
) -> np.ndarray:
    """LPD's orders, int32 `[B, N]`; of many a chunk in each thread."""
    tables = locality_cells.make_cell_tables(grid, *thresholds)

    def make_chunk(index: int, count: int) -> np.ndarray:
        words_BK = random_words(seed, "locality", index, count, 2 * schedule.num_steps)
        keys_BSR = split_words(words_BK).reshape(
            count, schedule.num_steps, locality_cells.TIE_ROUNDS
        )
        return locality.locality_orders(grid, schedule, tables, keys_BSR)

    chunk = max(8, locality.CELLS_AT_ONCE // schedule.num_tokens)
    return run_in_chunks(make_chunk, first_index, num_orders, chunk)


def run_in_chunks(
    make_chunk: Callable[[int, int], np.ndarray], first_index: int, num_orders: int, chunk: int
) -> np.ndarray:
    """Joins make_chunk(index, count) over all orders; on threads, as NumPy lets go of the lock."""
    end = first_index + num_orders
    indices = range(first_index, end, chunk)
    counts = [min(chunk, end - index) for index in indices]
    if len(counts) == 1:
        return make_chunk(first_index, num_orders)
    with ThreadPoolExecutor(min(len(counts), os.cpu_count() or 1)) as pool:
        return np.concatenate(list(pool.map(make_chunk, indices, counts)))


def random_words(
    seed: int, kind: str, first_index: int, num_orders: int, num_words: int
) -> np.ndarray:
    """uint64 [B, num_words]: row i is the stretch of the Philox stream that order i owns.

    The key is (seed, kind), the counter starts at index * ceil(num_words / 4): one count yields
    four words. NumPy promises not to change the stream.
    """
    counts_per_order = -(-num_words // 4)
    key = seed + (ORDERS.index(kind) << 64)
    generator = np.random.Philox(key=key, counter=first_index * counts_per_order)
    words = generator.random_raw(num_orders * counts_per_order * 4)
    return words.reshape(num_orders, -1)[:, :num_words]


def split_words(words_BK: np.ndarray) -> np.ndarray:
    """uint64 [B, K] -> uint32 [B, 2K], the same on machines of either byte order."""
    halves_BK2 = np.stack([words_BK & np.uint64(0xFFFFFFFF), words_BK >> np.uint64(32)], axis=-1)
    return halves_BK2.astype(np.uint32).reshape(words_BK.shape[0], -1)


def enter_anywhere(order_N: np.ndarray, words_B1: np.ndarray) -> np.ndarray:
    """One order from a place of each word's choice on, wrapped around, [B, N]."""
    num_tokens = len(order_N)
    offset_B1 = (words_B1 % np.uint64(num_tokens)).astype(np.int64)
    return order_N[(np.arange(num_tokens)[None] + offset_B1) % num_tokens]


def halton_order(grid: tuple[int, ...]) -> np.ndarray:
    """The cells in the order in which the Halton sequence first enters them: int32 [N].

    Base 2 down the rows, base 3 along the columns, base 5 along the frames of a clip, from point 0.
    A box of 2^-a by 3^-b that lies on the multiples of its sides holds one of every 2^a 3^b points,
    and every cell contains such a box once it is at most half as high and a third as wide as the
    cell: so many points are enough. All in whole numbers, hence exact.
    """
    bases = HALTON_BASES[-len(grid) :]
    index = np.arange(math.prod(map(halton_boxes, bases, grid)), dtype=np.int64)
    cells = [radical_inverse_cell(index, *axis) for axis in zip(bases, grid, strict=True)]
    position, first_visit = np.unique(np.ravel_multi_index(cells, grid), return_index=True)
    return position[np.argsort(first_visit)].astype(np.int32)


def halton_boxes(base: int, num_cells: int) -> int:
    """The least power of the base whose boxes are at most 1 / base as long as a cell."""
    boxes = 1
    while boxes < base * num_cells:
        boxes *= base
    return boxes


def region_order(
    grid: tuple[int, ...], num_regions: int | Sequence[int], name: str = "num_regions"
) -> np.ndarray:
    """PAR's order (arXiv 2412.15119, section 3.2): one cell of every region at a time, int32 [N].

    The grid is cut into sqrt(n) x sqrt(n) equal regions; places inside a region follow each other
    row by row, and so do the regions at each place. One region is the raster order. In a clip each
    frame is such a grid, one after another.

    Args:
        num_regions: n; or how many there are along each axis, so that (5, 1, 1) takes the same
            cell of five stretches of time at once.
        name: what an error calls them.

    Raises:
        UserError: n is no square of a whole number, or its root does not divide the grid; numbers
            along the axes that do not divide it.
    """
    grid = check_grid(grid)
    parts = region_parts(grid, num_regions, name)
    cells = np.arange(math.prod(grid), dtype=np.int32)
    pieces = [(part, side // part) for part, side in zip(parts, grid, strict=True)]
    by_region = cells.reshape([size for piece in pieces for size in piece])
    axes = range(by_region.ndim)
    return by_region.transpose(*axes[1::2], *axes[::2]).reshape(-1)


def region_parts(
    grid: tuple[int, ...], num_regions: int | Sequence[int], name: str
) -> tuple[int, ...]:
    """How many regions there are along each axis; see `region_order`."""
    if isinstance(num_regions, list | tuple):
        allowed = f"are divisors of the sides of the grid {grid}, one for each"
        parts = as_list(name, num_regions, allowed)
        parts = [check_whole(name, part, 1, MOST_TOKENS) for part in parts]
        if len(parts) != len(grid) or any(map(operator.mod, grid, parts)):
            raise UserError(f"{name}: got {shown(num_regions)}, allowed {allowed}")
        return tuple(parts)
    *_, height, width = grid
    root = math.isqrt(check_whole(name, num_regions, 1, MOST_TOKENS))
    if root * root != num_regions or height % root or width % root:
        raise UserError(
            f"{name}: got {num_regions}, allowed are squares whose root divides both sides "
            f"of the grid {grid}"
        )
    return (1,) * (len(grid) - 2) + (root, root)


def radical_inverse_cell(index: np.ndarray, base: int, num_cells: int) -> np.ndarray:
    """floor(num_cells * r), r the index's digits mirrored at the point: 6 = 110b -> 0.011b."""
    numerator, denominator = np.zeros_like(index), 1
    while denominator < index.size:
        numerator = numerator * base + index % base
        index = index // base
        denominator *= base
    return numerator * num_cells // denominator


def check_kind(kind: str) -> None:
    """Raises UserError for what is none of `ORDERS`."""
    check_choice("order", kind, ORDERS)


def check_thresholds(
    num_tokens: int,
    proximity_threshold: float,
    repulsion_threshold: int | None,
    num_axes: int = 2,
) -> tuple[float, int]:
    """Both thresholds, None replaced by the default repulsion threshold."""
    proximity = check_number(
        "proximity_threshold", proximity_threshold, 0, 1_000_000, note=", which are finite"
    )
    if repulsion_threshold is None:
        repulsion_threshold = locality.default_repulsion_threshold(num_tokens, num_axes)
    return proximity, check_whole("repulsion_threshold", repulsion_threshold, 0, MOST_TOKENS)
