"""Nested dictionaries of weights: held against the shapes wanted, named, put on the device."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from lpd_jax.models.family import family_of
from lpd_jax.models.parameters import abstract_params
from lpd_jax.runtime.config_fields import counted_fields
from lpd_jax.runtime.errors import UserError, shown, shown_name

Shapes = Mapping[str, tuple[int, ...]]
SHOWN_WEIGHTS = 6  # of those that are wrong, in an error


def shapes_of(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Path -> shape of each leaf: {"norm": {"scale": x}} -> {"norm/scale": x.shape}."""
    return {path: leaf.shape for path, leaf in flatten_dict(params, sep="/").items()}


def wanted_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Path -> shape of each leaf that a model of this config has."""
    return shapes_of(abstract_params(config))


def check_same_shapes(got: Shapes, want: Shapes, what: str, problems: Iterable[str] = ()) -> None:
    """Raises one UserError naming weights that are missing, unexpected or misshapen, and how many.

    Args:
        what: holds the weights that were got, for the error.
        problems: more of them, found before.
    """
    found = list(problems)
    found += [f"missing {shown_name(name)}" for name in want.keys() - got.keys()]
    found += [f"unexpected {shown_name(name)}" for name in got.keys() - want.keys()]
    found += [
        f"{shown_name(name)}: got shape {shown(got[name])}, allowed is {want[name]}"
        for name in got.keys() & want.keys()
        if got[name] != want[name]
    ]
    if found:
        first = sorted(found)[:SHOWN_WEIGHTS]
        if others := len(found) - len(first):
            first.append(f"and {others} more")
        raise UserError(f"{what} does not fit the model:\n  " + "\n  ".join(first))


def put_on_device(
    params: Mapping[str, Any], config: Any, where: str, for_drawing: bool = False
) -> Any:
    """Puts weights on the device, once they fit the config.

    Args:
        where: what an error calls them.
        for_drawing: as `Family.for_drawing` prepares them.
    """
    check_same_shapes(shapes_of(params), wanted_shapes(config), where)
    if for_drawing:
        params = family_of(config).for_drawing(params)  # on the host, where slices are no copies
    return jax.device_put(params)


def weights_digest(params: Mapping[str, Any], config: Any = None) -> str:
    """Names weights by their names, shapes and float32 values, and their model by its config.

    What other weights gave does not compare. An option that came later does not change the name
    of a model that does without it: its tokens, cached for long, are still its tokens.
    """
    fields = "" if config is None else repr(sorted(counted_fields(config).items()))
    digest = hashlib.sha256(fields.encode())
    for name, leaf in sorted(flatten_dict(params, sep="/").items()):
        array = np.asarray(leaf, "<f4", order="C")
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]
