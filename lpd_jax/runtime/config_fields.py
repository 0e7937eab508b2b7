"""Typed, frozen dataclasses from plain mappings, with errors that name the field."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lpd_jax.runtime.errors import UserError

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Mapping[str, Any], path: str = "") -> T:
    """Builds a dataclass from a mapping, nested dataclasses included.

    Args:
        cls: the dataclass.
        mapping: field name to value; missing fields take their defaults.
        path: name of the field that holds the mapping, for errors.

    Raises:
        ValueError: an unknown, missing or ill-typed field, by its full name.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(f"{path or cls.__name__}: got {mapping!r}, allowed is a mapping of fields")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in mapping:
        check_known(name, fields, path)
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = to_type(hints[name], mapping[name], join(path, name))
        elif is_required(field):
            raise UserError(f"{join(path, name)}: missing; it has no default")
    return cls(**values)


def to_mapping(value: Any) -> Any:
    """A dataclass as JSON-ready dictionaries and lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [to_mapping(item) for item in value] if isinstance(value, tuple) else value


def check_known(name: str, known: typing.Iterable[str], path: str = "") -> None:
    """Raises ValueError for a name that is not among the known ones, with the nearest."""
    known = list(known)
    if name in known:
        return
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}? Allowed" if close else "allowed"
    raise UserError(f"{join(path, name)}: unknown field; {hint} are {', '.join(known)}")


def check_sizes(config: Any, names: typing.Iterable[str]) -> None:
    """Raises ValueError for the first of these fields that is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise UserError(f"{name}: got {getattr(config, name)}, allowed is at least 1")


def check_rates(config: Any, names: typing.Iterable[str]) -> None:
    """Raises ValueError for the first of these fields that is no rate of dropout."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise UserError(
                f"{name}: got {getattr(config, name)}, allowed are numbers from 0 to below 1"
            )


def to_type(hint: Any, value: Any, path: str) -> Any:
    """Checks a value against a type hint; integers pass for floats, lists for tuples."""
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, path)  # type: ignore[arg-type]
    if isinstance(hint, types.UnionType):
        return to_union(hint, value, path)
    if typing.get_origin(hint) is tuple:
        return to_tuple(typing.get_args(hint), value, path)
    accepted = (int, float) if hint is float else hint
    # bool is an int to Python, not to a reader of configs.
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{path}: got {value!r}, allowed is {article(hint.__name__)}")
    if hint is not float:
        return value
    if not math.isfinite(value):
        raise UserError(f"{path}: got {value!r}, allowed is a finite float")
    return float(value)


def to_union(hint: types.UnionType, value: Any, path: str) -> Any:
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    try:
        return to_type(next(x for x in options if x is not type(None)), value, path)
    except ValueError as error:
        raise UserError(f"{error} or None") from None


def to_tuple(items: tuple, value: Any, path: str) -> tuple:
    if not isinstance(value, list | tuple):
        raise UserError(f"{path}: got {value!r}, allowed is a list")
    if items[-1] is Ellipsis:
        return tuple(to_type(items[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if len(value) != len(items):
        raise UserError(f"{path}: got {value!r}, allowed is a list of {len(items)}")
    return tuple(
        to_type(hint, item, f"{path}[{i}]")
        for i, (hint, item) in enumerate(zip(items, value, strict=True))
    )


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)


def article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
