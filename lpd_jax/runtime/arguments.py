"""What users give as an argument, of whatever type: checked where it enters, once.

Each check takes the argument's name and its value, gives the value as the type that is wanted, and
raises one UserError that names the argument, shows the value and says what is allowed.
"""

import difflib
import itertools
import math
import numbers
import operator
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lpd_jax.runtime.errors import UserError, shown, shown_path

__all__ = [
    "as_array",
    "as_list",
    "as_number",
    "as_path",
    "check_choice",
    "check_flag",
    "check_number",
    "check_text",
    "check_whole",
    "is_finite",
    "nearest",
    "parse_whole",
    "shown",
]

# Two letters at least: C:/ is a disk.
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/")

LONGEST_LIST = 10**7  # a range of more would be written out before anybody looked at it
MOST_ELEMENTS = 2**36  # of an array; NumPy lets views have any number
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, of every file system in use


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int, once it is a whole number in range.

    Integers of Python, NumPy and JAX are whole numbers; True and 2.0 are not.

    Raises:
        UserError: names the argument `name`, its value and what is allowed.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except Exception:  # noqa: BLE001 - whatever a foreign type raises
        number = None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"from {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name}: got {shown(value)}, allowed are whole numbers {allowed}")
    return number


def parse_whole(name: str, text: str) -> int:
    """The whole number that a text spells, such as one entry of a list flag.

    Raises:
        UserError: names the argument `name` and the text.
    """
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{name}: got {shown(text)}, allowed are whole numbers") from None


def parse_number(name: str, text: str) -> float:
    """The number that a text spells; UserError likewise."""
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{name}: got {shown(text)}, allowed are numbers") from None


def as_number(value: Any) -> float | int | None:
    """A real number of Python, NumPy or JAX as Python's; None for anything else, True as well."""
    try:
        value = value.item() if value.shape == () else None
    except AttributeError:
        pass  # no array, no number of NumPy's
    except Exception:  # noqa: BLE001 - whatever a foreign type raises
        return None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return value if is_number else None


def is_finite(value: Any) -> bool:
    """Whether a value is a number, neither infinite nor NaN; True is none, and no text is."""
    number = as_number(value)
    try:
        return number is not None and math.isfinite(number)
    except OverflowError:  # an integer beyond all floats
        return False


def check_number(
    name: str, value: Any, least: float, most: float, *, ends: str = "both", note: str = ""
) -> float:
    """The value as a float, once it is a finite number between `least` and `most`.

    Args:
        ends: which of the two are allowed themselves: "both", "least" or "most".
        note: what an error adds.
    """
    number = as_number(value) if is_finite(value) else None
    if number is not None and least <= number <= most:
        excluded = {"both": (), "least": (most,), "most": (least,)}[ends]
        if number not in excluded:
            return float(number)
    words = {
        "both": f"from {least:,} to {most:,}",
        "least": f"from {least:,} to below {most:,}",
        "most": f"above {least:,} and up to {most:,}",
    }
    raise UserError(f"{name}: got {shown(value)}, allowed are numbers {words[ends]}{note}")


def check_flag(name: str, value: Any) -> bool:
    """The value, once it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{name}: got {shown(value)}, allowed are True and False")
    return bool(value)


def check_text(name: str, value: Any, allowed: str = "a text") -> str:
    """The value, once it is a text."""
    if not isinstance(value, str):
        raise UserError(f"{name}: got {shown(value)}, allowed is {allowed}")
    return str(value)


def check_choice(name: str, value: Any, known: Iterable[str]) -> str:
    """The value, once it is one of the known names; an error has the nearest."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known)
        allowed = ", ".join(known)
        raise UserError(f"{name}: got {shown(value)}, allowed are {allowed}{hint}")
    return str(value)


def is_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is of a bucket; to pathlib, gs://b/t is the path gs:/b/t."""
    is_path = isinstance(path, str | os.PathLike)
    return is_path and ADDRESS.match(str(path)) is not None


def as_path(name: str, value: Any, allowed: str = "a path") -> Path:
    """The value as a path of this machine that the system can be asked about, "~" written out.

    What may be in a bucket enters by `buckets.located`.

    Raises:
        UserError: no path, an empty one, one with a name that no file can have, the home of a
            user that is not there, or a path of a bucket.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise UserError(f"{name}: got {shown(value)}, allowed is {allowed}")
    if is_bucket(text):
        raise UserError(f"{name}: got {shown_path(text)}, allowed is a path of this machine")
    longest = max(map(len, os.fsencode(text.replace(os.sep, "\n")).split(b"\n")))
    if "\0" in text or longest > LONGEST_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise UserError(
            f"{name}: got {shown_path(text)}, allowed is a path whose names have no zero byte and "
            f"at most {LONGEST_NAME} bytes each"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(
            f"{name}: got {shown_path(text)}, allowed is a path of a user that is there"
        ) from None


def as_list(name: str, value: Any, allowed: str) -> list[Any]:
    """The items of a list, tuple, range, array or iterator; a text and a mapping are none."""
    try:
        if isinstance(value, str | bytes | dict | set):
            raise TypeError
        items = list(itertools.islice(value, LONGEST_LIST + 1))
        if len(items) > LONGEST_LIST:
            raise TypeError
        return value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else items
    except Exception:  # noqa: BLE001 - whatever a foreign type raises
        raise UserError(f"{name}: got {shown(value)}, allowed {allowed}") from None


def as_array(name: str, value: Any, allowed: str) -> np.ndarray:
    """The value as an array of numbers or truth values.

    Args:
        allowed: the end of an error, "is uint8 [height, width, 3]".

    Raises:
        UserError: rows of several lengths, texts, objects, what no array holds.
    """
    try:
        if _length(value) > LONGEST_LIST and not hasattr(value, "dtype"):
            raise TypeError
        array = np.asarray(value)
        if array.size > MOST_ELEMENTS:
            raise TypeError
    except Exception:  # noqa: BLE001 - whatever a foreign type raises
        raise UserError(f"{name}: got {shown(value)}, allowed {allowed}") from None
    is_known = array.dtype.kind in "biufc" or array.dtype.name in ("bfloat16",)
    if not is_known or np.ma.isMaskedArray(value):
        raise UserError(f"{name}: got {shown(value)}, allowed {allowed}")
    return array


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence) else 0


def nearest(name: Any, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: "; did you mean 'raster'?", or nothing.

    Nothing where no known name is similar; case does not count.
    """
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        return ""
    lower = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    return f"; did you mean {shown(lower[close[0]])}?" if close else ""
