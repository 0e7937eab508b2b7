"""Arguments: one meaning of a whole number, one spelling, one hint."""

import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.runtime.arguments import check_whole, is_finite, nearest, parse_whole
from lpd_jax.runtime.errors import UserError


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), jnp.int32(3)])
def test_whole_numbers_of_all_kinds_become_an_int(value):
    number = check_whole("seed", value, 3, 3)
    assert number == 3 and type(number) is int
    assert check_whole("seed", value, 0) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(True, "True"), (np.True_, "True"), (3.0, "3.0"), (np.float32(2.5), "2.5")],
        *[("3", "'3'"), (None, "None"), (1, "1"), (np.int64(5), "5"), ([3], r"\[3\]")],
    ],
)
def test_what_is_none_or_out_of_range_is_named(value, text):
    want = f"^seed: got {text}, allowed are whole numbers from 2 to 4$"
    with pytest.raises(UserError, match=want):
        check_whole("seed", value, 2, 4)


def test_without_an_upper_limit():
    assert check_whole("seed", 10**30, 0) == 10**30
    with pytest.raises(UserError, match="^seed: got -1, allowed are whole numbers from 0$"):
        check_whole("seed", -1, 0)


def test_texts_spell_whole_numbers():
    assert [parse_whole("sizes", text) for text in ("3", "-2", " 7 ")] == [3, -2, 7]
    for text in ("two", "1.5", ""):
        with pytest.raises(UserError, match=f"^sizes: got '{text}', allowed are whole numbers$"):
            parse_whole("sizes", text)


def test_numbers_are_told_from_what_is_none():
    assert all(is_finite(value) for value in (0, -1.5, np.float32(2), np.int64(3)))
    wrong = (True, "1", None, float("nan"), float("inf"), 10**400, np.zeros(2))
    assert not any(is_finite(value) for value in wrong)


def test_the_nearest_name_is_a_hint_and_no_name_is_none():
    known = ("raster", "random", "halton")
    assert nearest("rastre", known) == nearest("RASTER", known) == "; did you mean 'raster'?"
    assert nearest("openpeeps", ["openPeeps"]) == "; did you mean 'openPeeps'?"
    assert nearest("zigzag", known) == nearest("raster", ()) == nearest(3, known) == ""
