"""Configs from mappings: what fits becomes typed, what does not is named."""

import dataclasses

import pytest

from lpd_jax.runtime.config_fields import from_mapping, to_mapping


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    on: bool = False


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int
    name: str = "a"
    limit: int | None = None
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
    ("fields", "message"),
    [
        ({}, "count: missing; it has no default"),
        ({"cuont": 1}, "cuont: unknown field; did you mean 'count'? Allowed are count, name, "),
        ({"zzz": 1}, "zzz: unknown field; allowed are count, name, "),
        ({"inner": {"raet": 1}}, "inner.raet: unknown field; did you mean 'rate'? Allowed are "),
        ({"count": "3"}, "count: got '3', allowed is an int"),
        ({"count": True}, "count: got True, allowed is an int"),
        ({"count": 1.5}, "count: got 1.5, allowed is an int"),
        ({"limit": "x"}, "limit: got 'x', allowed is an int or None"),
        ({"inner": 3}, "inner: got 3, allowed is a mapping of fields"),
        ({"inner": {"rate": "x"}}, "inner.rate: got 'x', allowed is a float"),
        ({"inner": {"rate": float("nan")}}, "inner.rate: got nan, allowed is a finite float"),
        ({"inner": {"on": 1}}, "inner.on: got 1, allowed is a bool"),
        ({"grid": [4]}, "grid: got [4], allowed is a list of 2"),
        ({"grid": 4}, "grid: got 4, allowed is a list"),
        ({"grid": [4, "a"]}, "grid[1]: got 'a', allowed is an int"),
        ({"sizes": [1, None]}, "sizes[1]: got None, allowed is a float"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError) as error:
        from_mapping(Outer, fields if not fields or "cuont" in fields else {"count": 1} | fields)
    assert str(error.value).startswith(message)


def test_no_mapping_at_all():
    with pytest.raises(ValueError, match="^Outer: got 3, allowed is a mapping of fields"):
        from_mapping(Outer, 3)
