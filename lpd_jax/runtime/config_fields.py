"""Typed, frozen dataclasses from plain mappings, with errors that name the field."""

import contextlib
import dataclasses
import functools
import operator
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from lpd_jax.runtime.arguments import LONGEST_LIST, as_number, check_whole, is_finite, nearest
from lpd_jax.runtime.errors import UserError, shown, shown_name

T = TypeVar("T")
LONGEST_INT = 1024  # bits


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
    hints = type_hints(cls)
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


@contextlib.contextmanager
def in_section(section: str, names: typing.Iterable[str]) -> typing.Iterator[None]:
    """Inside, an error about a field of a section has its full name.

    `num_steps` alone is that of the run, `generation.num_steps` how many steps draw a picture.
    """
    try:
        yield
    except UserError as error:
        if re.split(r"\W", str(error), maxsplit=1)[0] in names:
            raise UserError(f"{section}.{error}") from None
        raise


def later_field(default: Any) -> Any:
    """A field that configs did not have at first: at its default it does not count as one."""
    return dataclasses.field(default=default, metadata={"later": True})


def counted_fields(config: Any) -> dict[str, Any]:
    """The fields that tell a config from others: all but later ones at their defaults."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if not (field.metadata.get("later") and getattr(config, field.name) == field.default)
    }


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
            f"{join(path, shown_name(name))}: got an unknown field, allowed are "
            f"{', '.join(known)}{hint}"
        )


def check_types(config: Any, path: str = "") -> None:
    """Makes every field of a frozen dataclass what its type hint says, from its `__post_init__`.

    Lists and arrays become tuples, numbers of NumPy those of Python. Raises UserError as
    `from_mapping` does.
    """
    for name, hint in type_hints(type(config)).items():
        if name in config.__dataclass_fields__:
            value = to_type(hint, getattr(config, name), join(path, name))
            object.__setattr__(config, name, value)


type_hints: typing.Callable[[Any], Mapping[str, Any]] = functools.cache(typing.get_type_hints)


def check_sizes(config: Any, names: typing.Iterable[str]) -> None:
    """Raises UserError for the first of these fields that is no whole number from 1.

    Args:
        names: of fields; a mapping says how large each may be.
    """
    for name in names:
        most = names[name] if isinstance(names, Mapping) else None
        check_whole(name, getattr(config, name), 1, most)


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
    try:
        return CONVERT.get(hint, functools.partial(as_instance, hint))(value)
    except TypeError:
        raise UserError(f"{path}: got {shown(value)}, allowed is {describe(hint)}") from None


def as_float(value: Any) -> float:
    if not is_finite(value):
        raise TypeError
    return float(as_number(value))  # type: ignore[arg-type]  # a finite one is a number


def as_int(value: Any) -> int:
    # bool is an int to Python, not to a reader of configs.
    if isinstance(value, bool) or not isinstance(number := as_number(value), int):
        raise TypeError
    if number.bit_length() > LONGEST_INT:  # of no use, and Python refuses to write it
        raise TypeError
    return operator.index(number)


def as_bool(value: Any) -> bool:
    return bool(as_instance(bool | np.bool_, value))


def as_instance(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


CONVERT: Mapping[Any, typing.Callable[[Any], Any]] = {float: as_float, int: as_int, bool: as_bool}


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
    value = listed_items(value)
    if not isinstance(value, list | tuple) or not (any_length or len(value) == len(items)):
        raise UserError(f"{path}: got {shown(value)}, allowed is {describe(hint)}")
    item_hints = items[:1] * len(value) if any_length else items
    return tuple(
        to_type(hint, item, f"{path}[{i}]")
        for i, (hint, item) in enumerate(zip(item_hints, value, strict=True))
    )


def listed_items(value: Any) -> Any:
    """Arrays and ranges as lists; everything else as it is."""
    if isinstance(value, range) and len(value) <= LONGEST_LIST:
        return list(value)
    is_array = hasattr(value, "__array__") and len(np.shape(value)) == 1
    return np.asarray(value).tolist() if is_array else value


def describe(hint: Any) -> str:
    """What a type hint allows, in words: "an int or None" for `int | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(map(describe, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        return "a list" if items[-1] is Ellipsis else f"a list of {len(items)}"
    if dataclasses.is_dataclass(hint):
        return "a mapping of fields"
    names = {float: "a finite float", bool: "True or False", type(None): "None"}
    return names.get(hint) or article(hint.__name__)


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)


def article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
