import math
import pathlib
import zlib

import numpy as np
import pytest

from lpd_jax.decoding import locality, order
from lpd_jax.decoding.order import ORDERS, halton_order, make_order, region_order
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule

GRIDS = [(1, 1), (1, 7), (4, 4), (5, 3), (6, 11), (16, 16)]


def orders(kind, grid=(4, 6), num_orders=5, **options):
    schedule = make_schedule(math.prod(grid))
    return make_order(kind, grid, schedule, num_orders=num_orders, **options)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ORDERS)
def test_every_order_is_a_permutation(kind, grid):
    regions = 4 if grid[0] % 2 == grid[1] % 2 == 0 else 1
    order_BN = orders(kind, grid, num_regions=regions)
    assert order_BN.dtype == np.int32
    assert order_BN.shape == (5, math.prod(grid))
    assert (np.sort(order_BN, axis=1) == np.arange(math.prod(grid))[None]).all()


@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_depends_on_seed_and_index_only(kind, monkeypatch):
    order_BN = orders(kind, num_orders=24, seed=3)
    np.testing.assert_array_equal(orders(kind, num_orders=24, seed=3), order_BN)
    np.testing.assert_array_equal(orders(kind, num_orders=8, seed=3), order_BN[:8])
    tail_BN = orders(kind, num_orders=7, seed=3, first_index=13)
    np.testing.assert_array_equal(tail_BN, order_BN[13:20])
    monkeypatch.setattr(locality, "CELLS_AT_ONCE", 1)  # 3 chunks of 8 orders
    for num_threads in (1, 3):
        monkeypatch.setattr(order.os, "cpu_count", lambda n=num_threads: n)
        np.testing.assert_array_equal(orders(kind, num_orders=24, seed=3), order_BN)


@pytest.mark.parametrize("kind", ["random", "halton", "locality"])
def test_another_seed_gives_other_orders(kind):
    order_BN = orders(kind, num_orders=8, seed=0)
    assert len(np.unique(order_BN, axis=0)) > 4
    for seed in (1, 2**63):
        assert (orders(kind, num_orders=8, seed=seed) != order_BN).any(axis=1).sum() >= 6


# Recorded from this code, so that a bank is the same on every machine and in every release.
# Changing one is a change of what users get for their seed: raise order_bank.BANK_VERSION with it.
@pytest.mark.parametrize(
    ("kind", "checksum"),
    [
        ("raster", 501789166),
        ("random", 1454594870),
        ("halton", 1039569654),
        ("locality", 101114443),
    ],
)
def test_orders_never_change(kind, checksum):
    order_BN = orders(kind, (7, 9), num_orders=3, seed=5, first_index=2)
    recorded = zlib.crc32(order_BN.astype("<i4").tobytes())
    assert recorded == checksum


def test_raster_is_row_by_row():
    assert orders("raster", (2, 3), num_orders=2).tolist() == [[0, 1, 2, 3, 4, 5]] * 2


@pytest.mark.parametrize("kind", ["random", "locality", "halton"])
def test_the_first_cell_is_uniform(kind):
    first_B = orders(kind, (3, 4), num_orders=6000)[:, 0]
    count_N = np.bincount(first_B, minlength=12)
    chi_squared = ((count_N - 500) ** 2 / 500).sum()
    assert chi_squared < 31.3  # 11 degrees of freedom: 1 in 1000


def test_random_orders_leave_no_trace_of_the_grid():
    order_BN = orders("random", (2, 3), num_orders=7200)
    names, count = np.unique(order_BN, axis=0, return_counts=True)
    assert len(names) == 720  # all of 6! permutations, about 10 times each
    assert ((count - 10) ** 2 / 10).sum() < 719 + 5 * math.sqrt(2 * 719)


def test_halton_by_hand():
    # Points (row, column), bases 2 and 3: (0, 0) (1/2, 1/3) (1/4, 2/3) (3/4, 1/9) (1/8, 4/9)
    assert halton_order((4, 4))[:5].tolist() == [0, 9, 6, 12, 1]
    assert halton_order((2, 3))[:3].tolist() == [0, 4, 2]


def test_halton_orders_are_one_sequence_entered_anywhere():
    plain_N = halton_order((4, 6))
    for row_N in orders("halton", num_orders=6):
        start = int(np.flatnonzero(row_N == plain_N[0])[0])
        np.testing.assert_array_equal(np.roll(row_N, -start), plain_N)


def test_halton_spreads_its_first_tokens_over_a_clip():
    frame, row, column = np.unravel_index(halton_order((5, 8, 9))[:60], (5, 8, 9))
    assert sorted(halton_order((5, 8, 9))) == list(range(360))
    in_block = np.bincount((frame * 2 + row // 4) * 3 + column // 3, minlength=30)
    assert in_block.min() >= 1 and in_block.max() <= 3  # 2 each if perfectly even


def test_halton_spreads_its_first_tokens():
    row, column = np.divmod(halton_order((16, 16))[:64], 16)
    in_block = np.bincount(row // 4 * 4 + column // 4, minlength=16)
    assert in_block.min() >= 3 and in_block.max() <= 5  # 4 each if perfectly even


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            dict(kind="lokality"),
            ["order: got 'lokality'", "did you mean 'locality'", "raster, random, halton"],
        ),
        (
            dict(kind="zigzag"),
            ["order: got 'zigzag'", "allowed are raster, random, halton, locality"],
        ),
        (dict(grid=(4, 5)), ["grid: got (4, 5)", "20 tokens", "16"]),
        (dict(grid=(0, 16)), ["grid: got (0, 16)", "from 1"]),
        (dict(grid=16), ["grid: got 16", "(height, width)"]),
        (dict(num_orders=0), ["num_orders: got 0", "from 1"]),
        (dict(seed=-1), ["seed: got -1", "from 0 to 18446744073709551615"]),
        (dict(seed=0.5), ["seed: got 0.5", "whole number"]),
        (dict(first_index=-1), ["first_index: got -1", "from 0"]),
        (dict(proximity_threshold=-0.5), ["proximity_threshold: got -0.5", "from 0"]),
        (dict(proximity_threshold=float("nan")), ["proximity_threshold: got nan", "finite"]),
        (dict(repulsion_threshold=-1), ["repulsion_threshold: got -1", "from 0"]),
        (dict(repulsion_threshold=1.5), ["repulsion_threshold: got 1.5", "whole number"]),
    ],
)
def test_bad_requests_are_named(arguments, words):
    good = dict(kind="locality", grid=(4, 4), schedule=GroupSchedule((1, 15)), num_orders=2)
    with pytest.raises(ValueError) as error:
        make_order(**(good | arguments))
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message


PAR_ORDERS = pathlib.Path(__file__).parents[1] / "golden" / "par_orders_dev.npz"


def test_region_orders_are_the_official_ones():
    with np.load(PAR_ORDERS) as golden:
        for name in golden.files:
            side, parallel = (int(part[1:]) for part in name.removeprefix("order/").split("_"))
            order_N = region_order((side, side), parallel)
            np.testing.assert_array_equal(order_N, golden[name], err_msg=name)


def test_regions_of_any_grid():
    assert region_order((2, 6), 4).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    np.testing.assert_array_equal(region_order((3, 5), 1), np.arange(15))


@pytest.mark.parametrize("parallel", [2, 9, -4, 0])
def test_regions_that_do_not_divide_the_grid_are_refused(parallel):
    with pytest.raises(ValueError, match="num_regions"):
        region_order((8, 8), parallel)
