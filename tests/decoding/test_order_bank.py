import logging
import pathlib

import numpy as np
import pytest

from lpd_jax.decoding import order_bank
from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.order_bank import first_orders, load_or_make_bank
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule

GRID = (3, 4)
SCHEDULE = make_schedule(12, 4)


def bank(folder, kind="locality", num_orders=10, **options):
    options = {"cache_dir": folder, "show_progress": False} | options
    return load_or_make_bank(kind, GRID, SCHEDULE, num_orders, **options)


@pytest.fixture
def makes(monkeypatch):
    """Counts the orders that are made, in chunks of 4."""
    made = []

    def counting(*arguments, **options):
        made.append(options["num_orders"])
        return make_order(*arguments, **options)

    monkeypatch.setattr(order_bank, "make_order", counting)
    monkeypatch.setattr(order_bank, "ORDERS_AT_ONCE", 4)
    return made


@pytest.mark.parametrize("kind", ["raster", "random", "halton", "locality"])
def test_a_bank_holds_the_orders_of_make_order(kind, tmp_path):
    made = bank(tmp_path, kind, seed=7)
    assert made.order_BN.dtype == np.int16 and isinstance(made.order_BN, np.memmap)
    want_BN = make_order(kind, GRID, SCHEDULE, num_orders=10, seed=7)
    np.testing.assert_array_equal(made.order_BN, want_BN)
    taken_BN = made.take(8, 4)
    assert len(made) == 10 and taken_BN.dtype == np.int32
    np.testing.assert_array_equal(taken_BN, want_BN[[8, 9, 0, 1]])


def test_it_is_made_once_in_chunks(tmp_path, makes):
    first = bank(tmp_path)
    assert makes[-3:] == [4, 4, 2]
    makes.clear()
    second = bank(tmp_path)
    assert sum(makes) <= 1  # one order, to check the request
    assert second.path == first.path
    np.testing.assert_array_equal(second.order_BN, first.order_BN)


def test_every_parameter_has_its_own_file(tmp_path):
    def path(grid=GRID, schedule=SCHEDULE, kind="locality", num_orders=3, **options):
        made = load_or_make_bank(
            *(kind, grid, schedule, num_orders),
            **options,
            cache_dir=tmp_path,
            show_progress=False,
        )
        return made.path

    other_sizes = GroupSchedule((1, 3, 3, 5))
    paths = [
        path(),
        path(grid=(4, 3)),
        path(schedule=other_sizes),
        path(kind="random"),
        path(num_orders=4),
        path(seed=1),
        path(proximity_threshold=0.5),
        path(repulsion_threshold=2),
    ]
    assert len(set(paths)) == len(paths)
    # What an order does not depend on does not make a new file; nor does a default spelt out.
    assert path(kind="random", schedule=other_sizes, repulsion_threshold=3) == paths[3]
    assert path(repulsion_threshold=1, proximity_threshold=1) == paths[0]


def truncate(path: pathlib.Path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: pathlib.Path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["raster", "random", "halton", "locality"])
@pytest.mark.parametrize("least", [10, 11], ids=["many", "few"])
def test_first_orders_are_the_same_from_a_bank_and_made(kind, least, tmp_path, monkeypatch):
    monkeypatch.setattr(order_bank, "LEAST_WORTH_KEEPING", least)
    options = {"proximity_threshold": 0.5, "repulsion_threshold": 2}
    want_BN = make_order(kind, GRID, SCHEDULE, num_orders=10, seed=7, **options)
    for _ in range(2):  # made, then found
        order_BN = first_orders(kind, GRID, SCHEDULE, 10, 7, **options, cache_dir=tmp_path)
        assert order_BN.dtype == np.int32
        np.testing.assert_array_equal(order_BN, want_BN)
    kept = kind == "locality" and least == 10
    assert len(list(tmp_path.iterdir())) == 2 * kept


def test_first_orders_are_made_once(tmp_path, makes, monkeypatch):
    monkeypatch.setattr(order_bank, "LEAST_WORTH_KEEPING", 10)
    first_orders("locality", GRID, SCHEDULE, 10, cache_dir=tmp_path)
    makes.clear()
    first_orders("locality", GRID, SCHEDULE, 10, cache_dir=tmp_path)
    assert sum(makes) <= 1  # one order, to check the request


def test_first_orders_need_no_cache(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(order_bank, "LEAST_WORTH_KEEPING", 10)
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    order_BN = first_orders("locality", GRID, SCHEDULE, 10, cache_dir=in_the_way)
    want_BN = make_order("locality", GRID, SCHEDULE, num_orders=10)
    np.testing.assert_array_equal(order_BN, want_BN)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, pathlib.Path.unlink])
def test_a_damaged_bank_is_made_again(damage, suffix, tmp_path, makes, caplog):
    made = bank(tmp_path)
    want_BN = np.array(made.order_BN)
    damage(made.path.with_suffix(suffix))
    makes.clear()
    with caplog.at_level(logging.WARNING):
        again = bank(tmp_path)
    assert sum(makes) >= 10
    np.testing.assert_array_equal(again.order_BN, want_BN)
    if (damage, suffix) == (pathlib.Path.unlink, ".npy"):
        assert not caplog.records  # no bank is no damage
    else:
        (record,) = caplog.records
        assert str(made.path) in record.getMessage() and "\n" not in record.getMessage()
    caplog.clear()
    bank(tmp_path)
    assert not caplog.records


def test_a_file_of_other_parameters_is_not_believed(tmp_path, caplog):
    made = bank(tmp_path, seed=1)
    path = made.path.with_suffix(".json")
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    bank(tmp_path, seed=1)
    assert len(caplog.records) == 1 and '"seed": 1' in path.read_text()


@pytest.mark.parametrize(
    "wrong",
    [dict(kind="lokality"), dict(num_orders=0), dict(seed=-1), dict(repulsion_threshold=-1)],
)
def test_a_bad_request_writes_nothing(wrong, tmp_path):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("kind", "order")):
        bank(tmp_path / "cache", **wrong)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_bank_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        if options["first_index"] > 0:
            raise KeyboardInterrupt
        return make_order(*arguments, **options)

    monkeypatch.setattr(order_bank, "ORDERS_AT_ONCE", 4)
    monkeypatch.setattr(order_bank, "make_order", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bank(tmp_path)
    assert not list(tmp_path.iterdir())


def test_progress_is_shown_while_it_is_made(tmp_path, capsys):
    bank(tmp_path, show_progress=True)
    assert "10/10" in capsys.readouterr().err
    bank(tmp_path, show_progress=True)
    assert capsys.readouterr().err == ""


def test_by_default_it_is_in_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bank(None).path.parent == tmp_path / "lpd_jax"
