"""Configs from mappings: what fits becomes typed, what does not is named."""

import dataclasses

import pytest

from lpd_jax.runtime.config_fields import (
    check_rates,
    check_sizes,
    from_mapping,
    in_section,
    to_mapping,
)
from lpd_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    on: bool = False


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int
    name: str = "a"
    limit: int | None = None
    where: int | str | None = None
    part: tuple[int, int] | Inner | None = None
    grid: tuple[int, int] = (4, 4)
    sizes: tuple[float, ...] = ()
    inner: Inner = Inner()


def test_what_is_written_is_read_back():
    outer = Outer(3, limit=5, grid=(2, 8), sizes=(1.0, 2.5), inner=Inner(on=True))
    assert from_mapping(Outer, to_mapping(outer)) == outer
    assert to_mapping(outer)["grid"] == [2, 8]  # as JSON has it


def test_missing_fields_take_their_defaults():
    assert from_mapping(Outer, {"count": 1}) == Outer(1)


def test_integers_pass_for_floats():
    rate = from_mapping(Outer, {"count": 1, "inner": {"rate": 1}}).inner.rate
    assert rate == 1.0 and isinstance(rate, float)


@pytest.mark.parametrize(
    "fields",
    [{"where": 3}, {"where": "home"}, {"where": None}, {"part": (1, 2)}, {"part": Inner(0.5)}],
)
def test_every_type_of_a_union_is_read(fields):
    outer = Outer(1, **fields)
    assert from_mapping(Outer, to_mapping(outer)) == outer


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "count: missing, allowed is an int"),
        ({"cuont": 1}, "cuont: got an unknown field, allowed are count, name, "),
        ({"zzz": 1}, "zzz: got an unknown field, allowed are count, name, "),
        (
            {"inner": {"raet": 1}},
            "inner.raet: got an unknown field, allowed are rate, on; did you mean 'rate'?",
        ),
        ({"count": "3"}, "count: got '3', allowed is an int"),
        ({"count": True}, "count: got True, allowed is an int"),
        ({"count": 1.5}, "count: got 1.5, allowed is an int"),
        ({"limit": "x"}, "limit: got 'x', allowed is an int or None"),
        ({"where": 1.5}, "where: got 1.5, allowed is an int or a str or None"),
        ({"part": "x"}, "part: got 'x', allowed is a list of 2 or a mapping of fields or None"),
        ({"part": [1]}, "part: got [1], allowed is a list of 2 or a mapping of fields or None"),
        ({"part": [1, "a"]}, "part[1]: got 'a', allowed is an int"),
        ({"part": {"raet": 1}}, "part.raet: got an unknown field, allowed are rate, on; did you "),
        ({"inner": 3}, "inner: got 3, allowed is a mapping of fields"),
        ({"inner": {"rate": "x"}}, "inner.rate: got 'x', allowed is a finite float"),
        ({"inner": {"rate": float("nan")}}, "inner.rate: got nan, allowed is a finite float"),
        ({"inner": {"on": 1}}, "inner.on: got 1, allowed is True or False"),
        ({"grid": [4]}, "grid: got [4], allowed is a list of 2"),
        ({"grid": 4}, "grid: got 4, allowed is a list"),
        ({"grid": [4, "a"]}, "grid[1]: got 'a', allowed is an int"),
        ({"sizes": [1, None]}, "sizes[1]: got None, allowed is a finite float"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(UserError) as error:
        from_mapping(Outer, fields if not fields or "cuont" in fields else {"count": 1} | fields)
    assert str(error.value).startswith(message)


def test_no_mapping_at_all():
    with pytest.raises(UserError, match="^Outer: got 3, allowed is a mapping of fields"):
        from_mapping(Outer, 3)


def test_sizes_and_rates_are_named():
    good = Inner(rate=0.0)
    check_rates(good, ("rate",))
    check_sizes(Outer(1), ("count",))
    with pytest.raises(UserError, match="^count: got 2.5, allowed are whole numbers from 1$"):
        check_sizes(Outer(2.5), ("count",))
    for rate in (1.0, -0.1, "a", float("nan")):
        with pytest.raises(
            UserError, match="^rate: got .*, allowed are numbers from 0 to below 1$"
        ):
            check_rates(Inner(rate), ("rate",))


def test_an_error_about_a_field_of_a_section_has_its_full_name():
    names = {"num_steps": 1, "grid_size": 2}
    cases = {
        "num_steps: got 40": "generation.num_steps: got 40",
        "grid_size[1]: got 'x'": "generation.grid_size[1]: got 'x'",
        "generation.num_steps: got 40": "generation.num_steps: got 40",
        "tokenizer: missing": "tokenizer: missing",
    }
    for said, told in cases.items():
        with pytest.raises(UserError) as error, in_section("generation", names):
            raise UserError(said)
        assert str(error.value) == told
