"""A line is for a person to read, whatever was given."""

import ast
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.runtime.errors import LINE_LENGTH, UserError, listed, shown, shown_name, shown_path

REPOSITORY = pathlib.Path(__file__).parents[2]


class Unwritable:
    def __repr__(self):
        raise RuntimeError("no words")


def nested(depth):
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(3, "3"), (np.float64(2.5), "2.5"), ("a\nb", r"'a\nb'"), (None, "None")],
        *[("a" * 78, repr("a" * 78)), (np.arange(3), "array([0, 1, 2])")],
        *[(np.zeros((2, 64)), "float64 (2, 64)"), (jnp.zeros((2, 3)), "float32 (2, 3)")],
        *[(range(10**9), "range(0, 1000000000)")],
    ],
)
def test_values_are_written_as_python_writes_them(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    [
        *("a" * 10_000, b"a" * 10_000, [1] * 10_000, {i: "a" * 100 for i in range(1000)}),
        *(10**400, -(10**400), nested(100), Unwritable(), object(), np.array(["a" * 10_000])),
        *(Ellipsis, np.zeros(3, [("a", "i4")]), np.array([None, {}]), UserError("a" * 10_000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_any_type_and_length_are_one_short_line(value):
    text = shown(value)
    assert 0 < len(text) <= 80 and "\n" not in text


def test_numbers_that_python_refuses_to_write():
    assert shown(10**5000) == "a whole number of 16610 bits"


def test_both_ends_of_what_is_cut_stay():
    text = shown("begin" + "x" * 1000 + "end")
    assert text.startswith("'beginx") and text.endswith("xend'") and "..." in text
    path = "/home/" + "folder/" * 20 + "file.png"  # short enough to be of use
    assert shown_path(path) == repr(path)
    assert len(shown_path("/a" * 1000)) == 200


def test_names_are_bare_where_they_are_plain():
    assert shown_name("blocks/qkv/bias") == "blocks/qkv/bias"
    assert [shown_name(x) for x in ("", "a\nb", " a", 3)] == ["''", r"'a\nb'", "' a'", "3"]
    assert len(shown_name("a" * 1000)) == 80
    assert listed("abc") == "a, b, c"
    assert listed(map(str, range(30))).endswith("19, and 10 more")


def test_no_message_is_longer_than_a_person_reads():
    for message in ("a" * 10_000, "a b " * 10_000, "ok: got " + "b" * 10_000 + ", allowed is c"):
        line = str(UserError(message))
        assert len(line) <= LINE_LENGTH
        assert line[:8] == message[:8] and line[-8:] == message[-8:]
    again = pickle.loads(pickle.dumps(UserError("seed: got 1")))
    assert str(again) == "seed: got 1"


def test_errors_show_values_by_the_one_function_that_cuts_them():
    """`{value!r}` in an error is as long as the value: `{shown(value)}` is not."""
    files = [*(REPOSITORY / "lpd_jax").rglob("*.py"), *(REPOSITORY / "launch").glob("*.py")]
    found = [
        f"{file.relative_to(REPOSITORY)}:{part.lineno}"
        for file in files
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "UserError"
        for part in ast.walk(call)
        if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
    ]
    assert len(files) > 100 and not found
