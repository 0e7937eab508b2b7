"""What `--help` tells of the model that a command draws with: its classes and its defaults."""

import itertools
import os
import textwrap
from collections.abc import Sequence

from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.hub import BUNDLED_MODELS, DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import read_directory_config
from lpd_jax.weights.published import find_published

MOST_CLASSES = 40
WIDTH = 78


def model_help(arguments: Sequence[str]) -> str:
    """Lines on the model of `--model=NAME` among the arguments of a command, or the default one.

    Nothing is fetched for it.
    """
    name = DEFAULT_MODEL
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and flag == "model":
            name = value if equals else following
    lines = [f"Bundled models: {', '.join(BUNDLED_MODELS)}."]
    try:
        if not is_here(name):
            return "\n".join([*lines, f"{name}: its classes are told once it is here."])
        config = read_directory_config(find_model_directory(name))
        model = config.need("transformer")
    except (UserError, OSError) as error:
        return "\n".join([*lines, str(error)])
    classes = [f"{i} {label}" for i, label in enumerate(config.class_names)]
    shown = ", ".join(classes[:MOST_CLASSES]) or f"0 to {model.num_classes - 1}"
    if len(classes) > MOST_CLASSES:
        shown += f" and {len(classes) - MOST_CLASSES} more"
    defaults = [
        f"{field}={value}" for field, value in vars(config.generation).items() if value is not None
    ]
    lines += [f"Classes of {name}: {shown}.", f"Its defaults: {', '.join(defaults)}."]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


def is_here(name: str) -> bool:
    """Whether a model can be looked at without the network, or is known to be missing."""
    of_hub = "/" in name and not name.startswith((".", "/", "~"))
    if not of_hub and find_published(name) is None:
        return True
    return name in BUNDLED_MODELS or os.path.isdir(os.path.expanduser(name))
