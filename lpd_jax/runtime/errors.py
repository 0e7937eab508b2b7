"""The one error that is meant for users, and how it shows what they gave.

A line is for a person to read: values are cut to some 80 characters, paths to 200, and whatever
gets past that is cut when the error is made.
"""

import os
import re
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

VALUE_LENGTH, PATH_LENGTH, LINE_LENGTH = 80, 200, 800  # characters
LIST_LENGTH = 20  # names of what is allowed, or of what is wrong
TRACEBACK = "Traceback (most recent call last):"
SMALL_ARRAY = 8  # elements that are shown; of a larger array its type and shape are


class UserError(ValueError):
    """Something a user gave is wrong: one line that names it, its value and what is allowed.

    `num_steps: got 300, allowed are whole numbers from 1 to 256`. Launch scripts show the line and
    exit with 2. Any other ValueError is a defect of ours and keeps its traceback.
    """

    def __init__(self, message: str = ""):
        super().__init__(readable(str(message)))


def shown(value: Any, length: int = VALUE_LENGTH) -> str:
    """A value in an error: as Python writes it, but on one line and of bounded length.

    2.5 for `np.float64(2.5)`; "float32 (2, 64, 64, 3)" for arrays of more than a few elements. A
    value of any type is shown, one that cannot be written as well.
    """
    try:
        text = _written(value)
    except Exception:  # noqa: BLE001 - whatever somebody's __repr__ raises
        text = f"a {type(value).__name__}"
    return cut(" ".join(text.split()) if "\n" in text else text, length)


def shown_path(path: str | os.PathLike) -> str:
    """A path in an error, in quotes; it is of no use in part, so it may be longer."""
    return shown(str(path), PATH_LENGTH if os.sep in str(path) else VALUE_LENGTH)


def shown_name(name: Any) -> str:
    """The name of a field or weight in an error: bare, or in quotes where it is no plain name."""
    text = name if isinstance(name, str) else shown(name)
    plain = text.isprintable() and text.strip() == text != ""
    return cut(text, VALUE_LENGTH) if plain else shown(text)


def printable(path: str) -> str:
    r"""A path, or another text, with bytes that are no text written as `\xe9`."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair
        return path.encode("utf-8", "backslashreplace").decode("utf-8")


def listed(names: Iterable[Any]) -> str:
    """Names in an error, joined by commas: the first few, and how many more there are."""
    texts = [shown_name(name) for name in names]
    more = [f"and {len(texts) - LIST_LENGTH} more"] if len(texts) > LIST_LENGTH else []
    return ", ".join([*texts[:LIST_LENGTH], *more])


def cut(text: str, length: int) -> str:
    """The text, or its two ends where it is longer."""
    tail = length // 4
    return text if len(text) <= length else f"{text[: length - tail - 3]}...{text[-tail:]}"


def readable(message: str) -> str:
    """A message with its overlong words cut, and the whole if it is still too long."""

    def shorter(word: re.Match) -> str:
        return cut(word[0], PATH_LENGTH if os.sep in word[0] else VALUE_LENGTH)

    return cut(re.sub(rf"\S{{{PATH_LENGTH + 1},}}", shorter, message), LINE_LENGTH)


def _written(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write some
        return f"a whole number of {value.bit_length()} bits"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        small = isinstance(value, np.ndarray) and value.size <= SMALL_ARRAY
        is_traced = any(kind.__name__ == "Tracer" for kind in type(value).__mro__)  # by JAX
        return repr(value) if small else f"{'traced ' * is_traced}{dtype} {shape}"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxset = 4, 8, 8
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxarray = 16
# Each longer than any value is shown: `cut` has the last word.
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * PATH_LENGTH


def one_line(error: Exception) -> str:
    """The message of an error on one line: lines of a list are joined by semicolons.

    "does not fit:\\n  missing a\\n  missing b" -> "does not fit: missing a; missing b"

    Of a traceback, which ml_collections puts into its message where a config file fails, the error
    at its end stays.
    """
    message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if TRACEBACK in lines:
        lines = [*lines[: lines.index(TRACEBACK)], lines[-1]]
    return readable("; ".join(lines).replace(":; ", ": ")) or type(error).__name__
