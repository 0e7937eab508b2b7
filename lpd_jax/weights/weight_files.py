"""A safetensors file of ours, judged by its header before any of its numbers is read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from flax.traverse_util import unflatten_dict

from lpd_jax.runtime.errors import UserError, shown, shown_name
from lpd_jax.runtime.foreign_files import what_instead

# Numbers that weights may be stored as; all of them become float32.
STORED_AS = ("F32", "F16", "BF16", "F64")
MOST_WEIGHTS = 20_000  # fifty times those of the largest model
DEEPEST_NAME = 16  # parts between slashes; our own have five


def read_weights(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Nested float32 leaves, by the parts of their names, and the file's notes.

    Raises:
        UserError: a truncated or damaged file, or another in its place; weights that are no
            floats or not finite; names that are no paths.
    """
    if reason := what_instead(file):
        raise UserError(f"{file}: got {reason}")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            names = opened.offset_keys()
            check_names(names, file)
            for name in names:
                kind = opened.get_slice(name).get_dtype()
                if kind not in STORED_AS:
                    raise UserError(
                        f"{file}: {shown_name(name)}: got numbers of type {shown_name(kind)}, "
                        f"allowed are {', '.join(STORED_AS)}"
                    )
            flat = {name: as_float32(opened.get_tensor(name), name, file) for name in names}
            notes = opened.metadata() or {}
    except safetensors.SafetensorError as error:
        size = file.stat().st_size
        raise UserError(
            f"{file}: got {size:,} bytes that are truncated or damaged ({error}); fetch it again"
        ) from None
    return unflatten_dict(flat, sep="/"), notes


def check_names(names: Iterable[str], file: Path) -> None:
    """Raises UserError for a name that is no path of parts, or that lies inside another."""
    known = set(names)
    if len(known) > MOST_WEIGHTS:
        raise UserError(f"{file}: got {len(known):,} weights, allowed are {MOST_WEIGHTS:,} at most")
    for name in known:
        parts = name.split("/", DEEPEST_NAME)
        if "" in parts or len(parts) > DEEPEST_NAME:
            raise UserError(
                f"{file}: got weight {shown(name)}, allowed are names of 1 to {DEEPEST_NAME} parts "
                "with slashes between them"
            )
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if inside := next((other for other in above if other in known), None):
            raise UserError(
                f"{file}: got weight {shown(name)} inside weight {shown(inside)}, allowed are "
                "weights beside each other"
            )


def as_float32(array: np.ndarray, name: str, file: Path) -> np.ndarray:
    """The weight as float32; UserError where it is not finite."""
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    flat = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a copy; sums of squares that overflow are looked at again.
        is_sound = np.isfinite(np.dot(flat, flat))
    if not is_sound and (bad := int(flat.size - np.isfinite(flat).sum())):
        raise UserError(
            f"{file}: {shown_name(name)}: got {bad:,} of {flat.size:,} values that are not finite, "
            "allowed are finite numbers"
        )
    return array
