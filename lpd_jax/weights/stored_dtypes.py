"""The types that a model directory stores weights in."""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from lpd_jax.runtime.arguments import as_array
from lpd_jax.runtime.errors import UserError, shown_name

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def to_dtype(leaves: Mapping[str, Any], dtype: str, part: str) -> dict[str, np.ndarray]:
    """Weights as a file holds them: sorted by name, in C order, of one type.

    Args:
        leaves: by path.
        dtype: of `DTYPES`.
        part: "transformer" or "tokenizer", for errors.

    Raises:
        UserError: what is no array of numbers, is not finite, or is not in `dtype`.
    """
    arrays = {}
    for path, value in sorted(leaves.items()):
        name = f"{part}: {shown_name(path)}"
        value = np.asarray(as_array(name, value, "is an array of numbers"), np.float32)
        # safetensors writes the buffer as it lies in memory, so it has to lie in C order. Weights
        # that do so already are not copied: a model of 3 billion takes 12 GB.
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=DTYPES[dtype], order="C")
        if not np.isfinite(array.astype(np.float32, copy=False)).all():
            refuse(name, value, dtype)
        arrays[path] = array
    return arrays


def refuse(name: str, value: np.ndarray, dtype: str) -> None:
    """Raises the UserError of weights that diverged, or that are too large for `dtype`."""
    bad = int(value.size - np.isfinite(value).sum())
    if bad:
        raise UserError(
            f"{name}: got {bad:,} of {value.size:,} values that are not finite, allowed are finite "
            "numbers"
        )
    raise UserError(
        f"{name}: got values up to {np.abs(value).max()}, allowed are finite numbers in {dtype}"
    )
