"""Typed, frozen dataclasses from plain mappings, with errors that name the field."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lpd_jax.runtime.arguments import check_whole, is_finite, nearest
from lpd_jax.runtime.errors import UserError, shown

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Mapping[str, Any], path: str = "") -> T:
    """Builds a dataclass from a mapping, nested dataclasses included.

    Args:
        cls: the dataclass.
        mapping: field name to value; missing fields take their defaults.
        path: name of the field that holds the mapping, for errors.

    Raises:
        UserError: an unknown, missing or ill-typed field, by its full name.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(
            f"{path or cls.__name__}: got {shown(mapping)}, allowed is a mapping of fields"
        )
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in mapping:
        check_known(name, fields, path)
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = to_type(hints[name], mapping[name], join(path, name))
        elif is_required(field):
            allowed = describe(hints[name])
            raise UserError(f"{join(path, name)}: missing, allowed is {allowed}")
    return cls(**values)


def to_mapping(value: Any) -> Any:
    """A dataclass as JSON-ready dictionaries and lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [to_mapping(item) for item in value] if isinstance(value, tuple) else value


def check_known(name: str, known: typing.Iterable[str], path: str = "") -> None:
    """Raises UserError for a name that is not among the known ones, with the nearest."""
    known = list(known)
    if name not in known:
        hint = nearest(name, known)
        raise UserError(
            f"{join(path, name)}: got an unknown field, allowed are {', '.join(known)}{hint}"
        )


def check_sizes(config: Any, names: typing.Iterable[str]) -> None:
    """Raises UserError for the first of these fields that is no whole number from 1."""
    for name in names:
        check_whole(name, getattr(config, name), 1)


def check_rates(config: Any, names: typing.Iterable[str]) -> None:
    """Raises UserError for the first of these fields that is no rate of dropout."""
    for name in names:
        rate = getattr(config, name)
        if not is_finite(rate) or not 0 <= rate < 1:
            raise UserError(f"{name}: got {shown(rate)}, allowed are numbers from 0 to below 1")


def to_type(hint: Any, value: Any, path: str) -> Any:
    """A value as its type hint wants it; integers pass for floats, lists for tuples.

    Args:
        hint: a plain type, a dataclass, a tuple, or a union of such with `|`.
        path: name of the field, for errors.

    Raises:
        UserError: names the field, the value and all types that are allowed.
    """
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, path)  # type: ignore[arg-type]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return to_union(hint, value, path)
    if typing.get_origin(hint) is tuple:
        return to_tuple(hint, value, path)
    fits = is_finite(value) if hint is float else isinstance(value, hint)
    # bool is an int to Python, not to a reader of configs.
    if not fits or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{path}: got {shown(value)}, allowed is {describe(hint)}")
    return float(value) if hint is float else value


def to_union(hint: Any, value: Any, path: str) -> Any:
    """The value as the first type of the union that takes it."""
    for option in typing.get_args(hint):
        try:
            return to_type(option, value, path)
        except UserError as error:
            # One about a part of the value says more than that the whole is of no allowed type.
            if not str(error).startswith(f"{path}: "):
                raise
    raise UserError(f"{path}: got {shown(value)}, allowed is {describe(hint)}")


def to_tuple(hint: Any, value: Any, path: str) -> tuple:
    items = typing.get_args(hint)
    any_length = items[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (any_length or len(value) == len(items)):
        raise UserError(f"{path}: got {shown(value)}, allowed is {describe(hint)}")
    item_hints = items[:1] * len(value) if any_length else items
    return tuple(
        to_type(hint, item, f"{path}[{i}]")
        for i, (hint, item) in enumerate(zip(item_hints, value, strict=True))
    )


def describe(hint: Any) -> str:
    """What a type hint allows, in words: "an int or None" for `int | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(map(describe, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        return "a list" if items[-1] is Ellipsis else f"a list of {len(items)}"
    if dataclasses.is_dataclass(hint):
        return "a mapping of fields"
    names = {float: "a finite float", type(None): "None"}
    return names.get(hint) or article(hint.__name__)


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)


def article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
