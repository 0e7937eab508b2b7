"""The fields of `Generation` as arguments of functions and as flags of launch scripts.

None, or a flag that is not given, is what the model was made for.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from lpd_jax.models.settings import FIELDS, Generation
from lpd_jax.runtime.arguments import nearest, parse_whole
from lpd_jax.runtime.errors import shown

flags.disclaim_key_flags()  # they are those of the script that asks for them: --help shows them

PARAMETERS = [
    inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    for name in FIELDS
]
DEFINE: dict[Any, Callable[..., Any]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def takes_choices(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: `method(..., **choices)` takes every field of `Generation`, by place or by name.

    What is left out does not reach the method. The docstring tells of each.
    """
    own = inspect.signature(method)
    by_name = inspect.Parameter.KEYWORD_ONLY
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    first, last = ([p for p in named if (p.kind is by_name) == last] for last in (False, True))
    signature = own.replace(parameters=[*first, *PARAMETERS, *last])

    @functools.wraps(method)
    def bound(*arguments: Any, **named_arguments: Any) -> Any:
        check_names(method.__qualname__, named_arguments, signature.parameters)
        return method(**signature.bind(*arguments, **named_arguments).arguments)

    bound.__signature__ = signature  # type: ignore[attr-defined]
    bound.__doc__ = inspect.cleandoc(method.__doc__ or "") + "\n\nChoices:\n" + describe()
    return bound


def check_names(method: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises TypeError, as Python does, for an argument that a method does not have."""
    known = list(known)
    if unknown := set(names) - set(known):
        name = min(unknown)
        hint = nearest(name, known)
        raise TypeError(f"{method}() got an unexpected keyword argument {shown(name)}{hint}")


def describe(names: Iterable[str] = FIELDS) -> str:
    """A line on each choice, indented."""
    return "\n".join(f"    {name}: {FIELDS[name].metadata['help']}" for name in names)


def define_flags(leave_out: Iterable[str] = ()) -> tuple[str, ...]:
    """Defines a flag for each choice; gives their names."""
    names = tuple(name for name in FIELDS if name not in set(leave_out))
    hints = typing.get_type_hints(Generation)
    for name in names:
        text = FIELDS[name].metadata["help"]
        kind = hints[name]
        if isinstance(kind, types.UnionType):
            kind = next(option for option in typing.get_args(kind) if option is not type(None))
        if typing.get_origin(kind) is tuple:
            flags.DEFINE_list(name, None, text)
        else:
            DEFINE[kind](name, None, text)
    return names


def read_flags(names: Iterable[str]) -> dict[str, Any]:
    """The choices that were given as flags; None for those that were not."""
    choices: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    if choices.get("group_sizes") is not None:
        texts = choices["group_sizes"]
        choices["group_sizes"] = tuple(parse_whole("group_sizes", text) for text in texts)
    return choices
