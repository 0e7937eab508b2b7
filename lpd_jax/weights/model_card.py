"""The README.md of a model directory: what it is, what it learned from, how to load it."""

import dataclasses
import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import jax

from lpd_jax.models.family import family_of
from lpd_jax.models.parameters import abstract_params
from lpd_jax.runtime.arguments import as_number, is_finite
from lpd_jax.runtime.buckets import located
from lpd_jax.runtime.config_fields import check_known
from lpd_jax.runtime.errors import UserError, printable, shown
from lpd_jax.version import __version__
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import CARD_FILE

WRITTEN = "Written by lpd_jax"  # the last line of a card that nobody has changed
UNKNOWN = "not stated"


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What no weight tells.

    name: of the model; "" is that of its folder.
    licence: of the weights.
    data: what they learned from.
    source: where they come from.
    metrics: numbers by name, {"FID": 2.4}, of Python, NumPy or JAX.
    """

    name: str = ""
    licence: str = ""
    data: str = ""
    source: str = ""
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for field in ("name", "licence", "data", "source"):
            if not isinstance(value := getattr(self, field), str):
                raise UserError(f"{field}: got {shown(value)}, allowed is a text")
        if not isinstance(self.metrics, Mapping):
            raise UserError(f"metrics: got {shown(self.metrics)}, allowed are numbers by name")
        for name, value in self.metrics.items():
            if not isinstance(name, str) or not is_finite(value):
                raise UserError(
                    f"metrics: got {shown(value)} for {shown(name)}, allowed are finite numbers "
                    "by name"
                )


def model_card_for(
    directory: str | PathLike, config: DirectoryConfig, facts: Mapping[str, Any]
) -> str | None:
    """The card of a model directory to be written; None keeps the README.md that people wrote.

    Args:
        facts: fields of `ModelFacts`.

    Raises:
        UserError: facts of other names or types.
    """
    for name in facts:
        check_known(name, [field.name for field in dataclasses.fields(ModelFacts)], "facts")
    given = ModelFacts(**facts)
    folder = located("output", directory)
    older = folder / CARD_FILE
    if older.is_file() and WRITTEN not in older.read_bytes().decode("utf-8", "replace"):
        return None
    return model_card(config, given, printable(folder.name))


def model_card(config: DirectoryConfig, facts: ModelFacts, folder_name: str) -> str:
    """Markdown, with the front matter that the Hugging Face hub reads."""
    name = facts.name or folder_name
    # JSON texts are YAML texts: whatever a name holds, the front matter stays whole.
    front = ["library_name: lpd_jax", "tags: [jax, image-generation, autoregressive]"]
    front += [f"license: {json.dumps(facts.licence)}"] if facts.licence else []
    parts = [part for part in ("transformer", "tokenizer") if getattr(config, part) is not None]
    table = ["| part | method | parameters |", "|---|---|---|"]
    for part in parts:
        model = getattr(config, part)
        table.append(f"| {part} | {family_of(model).title} | {count(model):,} |")
    lines = ["---", *front, "---", "", f"# {name}", "", *table, ""]
    if config.image_size is not None:
        size = "x".join(map(str, config.image_size))
        lines += [f"- Pictures: {size} pixels."]
    if config.transformer is not None:
        lines += [f"- Classes: {config.transformer.num_classes}{some_names(config)}."]
        lines += [f"- Drawn, unless told otherwise, with {defaults(config)}."]
    lines += [
        f"- Data: {facts.data or UNKNOWN}.",
        f"- Licence: {facts.licence or UNKNOWN}.",
        f"- Source: {facts.source or UNKNOWN}.",
        "",
        "## Metrics",
        "",
        *(
            [f"- {key}: {as_number(value):g}" for key, value in facts.metrics.items()]
            or ["None known."]
        ),
        "",
        "## How to load it",
        "",
        "```python",
        "import lpd_jax",
        "",
        f"pipe = lpd_jax.Pipeline.from_pretrained({name!r})  # this folder, or its repository",
        *(["pictures = pipe([0, 1, 2], seed=1)"] if len(parts) == 2 else []),
        "```",
        "",
        f"{WRITTEN} {__version__}.",
    ]
    return "\n".join(lines) + "\n"


def count(model: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model)))


def some_names(config: DirectoryConfig, most: int = 20) -> str:
    names = list(config.class_names)
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({', '.join(names[:most])}{more})"


def defaults(config: DirectoryConfig) -> str:
    settings = vars(config.generation).items()
    return ", ".join(f"`{name}={value}`" for name, value in settings if value is not None)
