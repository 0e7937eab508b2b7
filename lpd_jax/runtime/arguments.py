"""What users give as an argument: whole numbers, and names that are nearly right."""

import difflib
import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from lpd_jax.runtime.errors import UserError


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int, once it is a whole number in range.

    Integers of Python, NumPy and JAX are whole numbers; True and 2.0 are not.

    Raises:
        UserError: names the argument `name`, its value and what is allowed.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
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
        raise UserError(f"{name}: got {text!r}, allowed are whole numbers") from None


def is_finite(value: Any) -> bool:
    """Whether a value is a number, neither infinite nor NaN; True is none, and no text is."""
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):  # no number; an integer beyond all floats
        return False


def nearest(name: Any, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: "; did you mean 'raster'?", or nothing.

    Nothing where no known name is similar.
    """
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value in an error: 2.5 for `np.float64(2.5)`, everything else as Python writes it."""
    return repr(value.item() if isinstance(value, np.generic) else value)
