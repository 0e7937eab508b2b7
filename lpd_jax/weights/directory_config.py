"""What a model directory's config.json says: the models, the pictures, how to draw."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lpd_jax.images import LARGEST_SIDE
from lpd_jax.models.family import (
    config_from_dict,
    config_to_dict,
    is_tokenizer,
    tokenizer_of,
    transformer_of,
)
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.arguments import as_list, check_text, nearest
from lpd_jax.runtime.errors import UserError, shown, shown_name

FORMAT_VERSION = 1
MOST_AXES = 3  # of a grid: frames, height and width
PIXELS = f"is [height, width] in pixels, each up to {LARGEST_SIDE}"
# Field: the types that its value may have.
FIELDS: dict[str, tuple[type, ...]] = {
    "format_version": (int,),
    "image_size": (list, tuple, type(None)),
    "class_names": (list, tuple),
    "transformer": (dict, type(None)),
    "tokenizer": (dict, type(None)),
    "generation": (dict,),
}
WORDS = {int: "a whole number", list: "a list", dict: "an object", type(None): "null"}


@dataclasses.dataclass(frozen=True)
class DirectoryConfig:
    """A config.json, checked: one or both models, and what is known beside them.

    transformer, tokenizer: configs of their families, None for one that is not there.
    image_size: (height, width) in pixels of what is drawn, or encoded by default.
    class_names: one a class, or none.
    generation: how to draw where nobody says; order and guidance schedule are filled in.
    where: what errors call it.

    Raises:
        UserError: names the field that is wrong, or does not fit the others.
    """

    transformer: Any = None
    tokenizer: Any = None
    image_size: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()
    generation: Generation = Generation()
    where: str = "config"

    def __post_init__(self):
        if self.transformer is None and self.tokenizer is None:
            raise UserError(
                f"{self.where}: got neither transformer nor tokenizer, allowed is one or both"
            )
        self._check_types()
        if self.transformer is not None:
            self._check_transformer()
        if self.tokenizer is not None and self.image_size is not None:
            field = f"{self.where}: image_size"
            tokenizer_of(self.tokenizer).grid_of(tuple(self.image_size), field)

    def _check_types(self) -> None:
        check_text("where", self.where)
        if self.transformer is not None:
            transformer_of(self.transformer)
        if self.tokenizer is not None:
            tokenizer_of(self.tokenizer)
        if self.image_size is not None:
            sides = as_list(f"{self.where}: image_size", self.image_size, PIXELS)
            object.__setattr__(self, "image_size", tuple(sides))
        names = as_list(f"{self.where}: class_names", self.class_names, "are texts, one a class")
        object.__setattr__(self, "class_names", tuple(names))
        check_sides(self.image_size, self.where)
        check_names(self.class_names, self.where)
        if not isinstance(self.generation, Generation):
            raise UserError(f"generation: got {shown(self.generation)}, allowed is a Generation")

    def _check_transformer(self) -> None:
        classes, names = self.transformer.num_classes, self.class_names
        if names and len(names) != classes:
            raise UserError(
                f"{self.where}: class_names: got {len(names)}, allowed are none and one for each "
                f"of {classes} classes"
            )
        if self.tokenizer is None:
            return
        codes, wanted = self.transformer.codebook_size, self.tokenizer.codebook_size
        if codes != wanted:
            raise UserError(
                f"{self.where}: codebook_size: got {codes} in transformer, allowed is the "
                f"tokenizer's {wanted}"
            )
        grid = self.transformer.grid_size
        size = tokenizer_of(self.tokenizer).size_of(grid)
        if self.image_size is not None and tuple(self.image_size) != size:
            raise UserError(
                f"{self.where}: image_size: got {list(self.image_size)}, allowed is {list(size)}: "
                f"a grid of {'x'.join(map(str, grid))} tokens"
            )

    def __getitem__(self, field: str) -> Any:
        """What config.json says: `config["class_names"]`, in plain JSON types."""
        return self.to_mapping()[field]

    @property
    def grid_size(self) -> tuple[int, ...] | None:
        """(height, width) in tokens; None for a tokenizer of no picture size."""
        if self.transformer is not None:
            return tuple(self.transformer.grid_size)
        if self.image_size is None:
            return None
        return tokenizer_of(self.tokenizer).grid_of(tuple(self.image_size))

    @property
    def num_frames(self) -> int:
        """Of each clip; 1 of pictures, and where no size is known."""
        return math.prod((self.image_size or ())[:-2])

    @property
    def draws_clips(self) -> bool:
        """Whether what comes out has frames."""
        return self.grid_size is not None and len(self.grid_size) > 2

    def need(self, part: str) -> Any:
        """The config of "transformer" or "tokenizer"; UserError where there is only the other."""
        config = getattr(self, part)
        if config is None:
            other = {"transformer": "tokenizer", "tokenizer": "transformer"}[part]
            raise UserError(
                f"model: got one that holds only a {other}: {self.where}; allowed is one with a "
                f"{part}"
            )
        return config

    @classmethod
    def from_mapping(cls, mapping: Any, where: str) -> "DirectoryConfig":
        """Reads what a config.json says; UserError names the first field that is wrong."""
        check_fields(mapping, where)
        parts = {part: read_part(mapping, part, where) for part in ("transformer", "tokenizer")}
        generation = Generation()
        if parts["transformer"] is not None:
            generation = transformer_of(parts["transformer"]).defaults()
        with errors_named(where, "generation."):
            generation = generation.updated(mapping.get("generation", {}), f"{where}: generation")
        size = mapping.get("image_size")
        with errors_named(where):
            return cls(
                **parts,
                image_size=None if size is None else tuple(size),
                class_names=tuple(mapping.get("class_names", ())),
                generation=generation,
                where=where,
            )

    def to_mapping(self) -> dict[str, Any]:
        """What `from_mapping` reads back, as plain JSON types."""
        mapping: dict[str, Any] = {"format_version": FORMAT_VERSION}
        if self.image_size is not None:
            mapping["image_size"] = list(self.image_size)
        mapping["class_names"] = list(self.class_names)
        for part in ("transformer", "tokenizer"):
            config = getattr(self, part)
            mapping[part] = None if config is None else config_to_dict(config)
        if self.transformer is not None:
            mapping["generation"] = self.generation.to_mapping()
        return mapping


@contextlib.contextmanager
def errors_named(where: str, field: str = "") -> Iterator[None]:
    """UserErrors of checks that know their own field alone name the file, and what holds it.

    "num_heads: got 0" -> "m/config.json: transformer.num_heads: got 0"
    """
    try:
        yield
    except UserError as error:
        if str(error).startswith(f"{where}: "):
            raise
        raise UserError(f"{where}: {field}{error}") from None


def read_part(mapping: Mapping[str, Any], part: str, where: str) -> Any:
    """The config of one of the two models, or None; UserError for a model of the other kind."""
    if mapping.get(part) is None:
        return None
    with errors_named(where, f"{part}."):
        config = config_from_dict(mapping[part], f"{where}: {part}")
    if is_tokenizer(config) != (part == "tokenizer"):
        family = mapping[part]["family"]
        raise UserError(f"{where}: {part}.family: got {shown(family)}, allowed is that of a {part}")
    return config


def check_fields(mapping: Any, where: str) -> None:
    """Raises one UserError naming the first unknown, missing or ill-typed field."""
    if not isinstance(mapping, Mapping):
        got = type(mapping).__name__
        raise UserError(f"{where}: got {got}, allowed is an object with fields")
    version = mapping.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "; it was written by a newer lpd_jax: update lpd_jax" if newer else ""
        raise UserError(f"{where}: format_version: got {shown(version)}, allowed is 1{hint}")
    for name, value in mapping.items():
        if name not in FIELDS:
            hint = nearest(name, FIELDS)
            raise UserError(
                f"{where}: {shown_name(name)}: got an unknown field, allowed are "
                f"{', '.join(FIELDS)}{hint}"
            )
        if not isinstance(value, FIELDS[name]) or isinstance(value, bool):
            wanted = " or ".join(WORDS[kind] for kind in FIELDS[name] if kind in WORDS)
            raise UserError(f"{where}: {name}: got {shown(value)}, allowed is {wanted}")


def check_names(names: Iterable[Any], where: str) -> None:
    for name in names:
        if not isinstance(name, str):
            raise UserError(
                f"{where}: class_names: got {shown(name)} among them, allowed are strings"
            )


def check_sides(size: Sequence[Any] | None, where: str) -> None:
    sides = (1, 1) if size is None else size
    known = 1 <= len(sides) <= MOST_AXES
    if not known or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sides):
        raise UserError(f"{where}: image_size: got {shown([*sides])}, allowed {PIXELS}")
