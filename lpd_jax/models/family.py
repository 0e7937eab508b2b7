"""The one registry of model families: found by name, or by a model's config.

Whatever depends on which method a model is, its family says; nobody else asks. A family is one
class in a module of this folder, marked with `register`; the registry imports them all.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar

from lpd_jax.models.tokenizer_family import TokenizerFamily
from lpd_jax.models.transformer_family import Family
from lpd_jax.runtime.arguments import nearest
from lpd_jax.runtime.config_fields import from_mapping, to_mapping
from lpd_jax.runtime.errors import UserError, shown

__all__ = [
    "Family",
    "TokenizerFamily",
    "config_from_dict",
    "config_to_dict",
    "families",
    "family_of",
    "find_family",
    "find_model",
    "forget",
    "is_tokenizer",
    "published_models",
    "register",
    "tokenizer_of",
    "transformer_of",
]

ModelFamily = type[Family] | type[TokenizerFamily]
Registered = TypeVar("Registered", bound=ModelFamily)

_FAMILIES: dict[str, ModelFamily] = {}


def register(family: Registered) -> Registered:
    """Class decorator: the family is found by its name and by its config class from now on."""
    other = _FAMILIES.get(family.name)
    if other is not None and other.__qualname__ != family.__qualname__:
        raise ValueError(f"family {family.name!r} is registered already, as {other.__qualname__}")
    _FAMILIES[family.name] = family
    return family


def forget(name: str) -> None:
    """Undoes `register`."""
    _FAMILIES.pop(name, None)


def families() -> Mapping[str, ModelFamily]:
    """All families, those of this folder among them, sorted by name."""
    import_rooms()
    return dict(sorted(_FAMILIES.items()))


@functools.cache
def import_rooms() -> None:
    """Imports the modules of this folder; a family among them registers itself."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")


def find_family(name: Any, field: str = "family") -> ModelFamily:
    """A family by its name; UserError names the known ones."""
    known = families()
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"{field}: got {shown(name)}, allowed are {', '.join(known)}{nearest(name, known)}"
        )
    return known[name]


def family_of(config: Any) -> Family | TokenizerFamily:
    """The family of a model's config; UserError for a config of none."""
    for family in families().values():
        if type(config) is family.config_type:
            return family(config)
    raise UserError(
        f"model: got a {type(config).__name__}, allowed are the configs of {', '.join(families())}"
    )


def transformer_of(config: Any) -> Family:
    """The family of a transformer's config; UserError for a tokenizer."""
    family = family_of(config)
    if not isinstance(family, Family):
        raise UserError(f"model: got a {family.name} tokenizer, allowed are transformers")
    return family


def tokenizer_of(config: Any) -> TokenizerFamily:
    """The family of a tokenizer's config; UserError for a transformer."""
    family = family_of(config)
    if not isinstance(family, TokenizerFamily):
        raise UserError(f"model: got an {family.name} transformer, allowed are tokenizers")
    return family


def is_tokenizer(config: Any) -> bool:
    """Whether a model's config is that of a tokenizer."""
    return isinstance(family_of(config), TokenizerFamily)


def published_models() -> dict[str, Any]:
    """Configs of all published models by name."""
    return {
        name: config for family in families().values() for name, config in family.models.items()
    }


def find_model(name: str) -> Any:
    """The config of a published model; UserError names the nearest."""
    models = published_models()
    if not isinstance(name, str) or name not in models:
        raise UserError(
            f"model: got {shown(name)}, allowed are {', '.join(models)}{nearest(name, models)}"
        )
    return models[name]


def config_from_dict(mapping: Mapping[str, Any], path: str = "model") -> Any:
    """Builds a config from a mapping whose `family` says which; rejects unknown fields."""
    if not isinstance(mapping, Mapping):
        raise UserError(f"{path}: got {shown(mapping)}, allowed is a mapping of fields")
    family = find_family(mapping.get("family"), f"{path}.family")
    rest = {name: value for name, value in mapping.items() if name != "family"}
    return from_mapping(family.config_type, rest, path)


def config_to_dict(config: Any) -> dict[str, Any]:
    """The mapping that `config_from_dict` reads back."""
    return {"family": family_of(config).name, **to_mapping(config)}
