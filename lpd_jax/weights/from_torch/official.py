"""Official state dicts: which family they are of, its sizes, and every weight that it has.

A family's room in this folder says so in OFFICIAL; all of them are found here.
"""

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lpd_jax.models.family import family_of
from lpd_jax.runtime.errors import UserError, shown, shown_name
from lpd_jax.weights.from_torch.state_dict_shapes import OfficialNames, Shapes, Tell, Weight
from lpd_jax.weights.parameters import wanted_shapes


@functools.cache
def official_families() -> Mapping[str, OfficialNames]:
    """By the name of the family in the registry."""
    package = importlib.import_module(__package__)
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    rooms = (importlib.import_module(f"{__package__}.{name}") for name in names)
    found = (room.OFFICIAL for room in rooms if hasattr(room, "OFFICIAL"))
    return {official.family: official for official in found}


def recognise(names: Iterable[str]) -> OfficialNames | None:
    """The family that weights of these names are of; None: of none known here."""
    names, known = list(names), official_families().values()
    for pattern_of in (lambda one: one.own_names, lambda one: one.shared_names):
        for official in known:
            if any(re.fullmatch(pattern_of(official), name) for name in names):
                return official
    return None


def recognised(names: Iterable[str]) -> OfficialNames:
    """The same; UserError where there is none."""
    names = list(names)
    official = recognise(names)
    if official is None:
        titles = [title for one in official_families().values() for title in one.titles]
        some = ", ".join(map(shown_name, names[:3])) or "none at all"
        ours = any("/" in name for name in names)
        hint = "; those with slashes are a model directory's, which needs no conversion" * ours
        raise UserError(
            f"weights: got those of no known model ({some}), allowed are {', '.join(titles)}{hint}"
        )
    return official


def config_of_shapes(
    shapes: Shapes,
    num_heads: int | None = None,
    grid_size: int | tuple[int, ...] | None = None,
    tell: Tell = lambda line: None,
) -> Any:
    """The config of a model of these official names and shapes; see `from_torch`."""
    official = recognised(shapes)
    return official.complete(official.draft(shapes), shapes, num_heads, grid_size, tell)


def official_of(config: Any) -> OfficialNames:
    """What is known of official weights of a config's family; UserError where nothing is."""
    name = family_of(config).name
    if name not in official_families():
        raise UserError(
            f"family: got {shown(name)}, allowed are those with official weights: "
            f"{', '.join(official_families())}"
        )
    return official_families()[name]


@functools.cache  # tracing a model takes a second or more
def leaf_shapes(config: Any) -> Shapes:
    """Path -> shape of each leaf of our parameters."""
    return wanted_shapes(config)


def official_weights(config: Any) -> list[Weight]:
    """Every weight that an official state dict of this model has."""
    to_weights = official_of(config).weights
    return [w for path, shape in leaf_shapes(config).items() for w in to_weights(path, shape)]
