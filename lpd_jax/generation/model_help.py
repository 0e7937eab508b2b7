"""What `--help` tells of the model that a command draws with: its classes and its defaults."""

import itertools
import textwrap
from collections.abc import Sequence

from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.hub import BUNDLED_MODELS, DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import read_directory_config

MOST_CLASSES = 40
WIDTH = 78


def model_help(arguments: Sequence[str]) -> str:
    """Lines on the model of `--model=NAME` among the arguments of a command, or the default one.

    A repository of the hub is not fetched for it.
    """
    name = DEFAULT_MODEL
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and flag == "model":
            name = value if equals else following
    lines = [f"Bundled models: {', '.join(BUNDLED_MODELS)}."]
    try:
        if "/" in name and not name.startswith((".", "/", "~")):
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
