"""Gaussians of features as files: `mu` and `sigma` of an .npz, as ADM publishes them.

Letters: F features.
"""

import os
import zipfile
import zlib
from typing import Any

import numpy as np

from lpd_jax.evaluation.gaussian import Statistics, check_statistics
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.runtime.foreign_files import what_instead

# What reading a damaged .npz raises, one whose header lies about its sizes among them.
DAMAGE = (
    *(ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, OverflowError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


def save_statistics(path: str | os.PathLike, statistics: Statistics) -> None:
    """Writes an .npz of `mu`, `sigma` and `num_images`, whole or not at all."""
    check_statistics("statistics", statistics)
    path = as_path("path", path)
    with replacing_file(path, "the statistics") as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            mu=statistics.mean_F,
            sigma=statistics.covariance_FF,
            num_images=statistics.num_images,
        )


def load_statistics(path: str | os.PathLike, field: str = "statistics") -> Statistics:
    """Reads `mu` and `sigma` of an .npz, as ADM's reference batches have them too.

    Args:
        path: of the file.
        field: what asked for it, for errors.

    Raises:
        UserError: no such file, one without them, or numbers that are no mean and covariance.
    """
    allowed = "allowed is an .npz file with mu [F] and sigma [F, F]"
    path = as_path(field, path)
    if not path.is_file():
        raise UserError(f"{field}: got {shown_path(path)}, which is no file; {allowed}")
    if reason := what_instead(path):
        raise UserError(f"{field}: got {shown_path(path)}, {reason}")
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            mean_F, covariance_FF = (np.asarray(arrays[x], np.float64) for x in ("mu", "sigma"))
            num_images = int(arrays["num_images"]) if "num_images" in arrays else 0
    except DAMAGE as error:
        raise UserError(
            f"{field}: got {shown_path(path)}, {unreadable(path, error)}; {allowed}"
        ) from None
    if mean_F.ndim != 1 or covariance_FF.shape != (mean_F.size,) * 2:
        raise UserError(
            f"{field}: got {shown_path(path)} with mu {mean_F.shape} and sigma "
            f"{covariance_FF.shape}; {allowed}"
        )
    if problem := problem_of(mean_F, covariance_FF):
        raise UserError(f"{field}: got {shown_path(path)}, {problem}; {allowed}")
    return Statistics(mean_F, covariance_FF, num_images)


def unreadable(path: Any, error: Exception) -> str:
    """What is wrong with a file that NumPy did not read as an .npz.

    Of what is no archive NumPy says that it is pickled, and how to load it, unsafely.
    """
    if not zipfile.is_zipfile(path):
        return "which cannot be read: it is no .npz, or one that is cut off"
    problem = " ".join(str(error).split()) or type(error).__name__
    return f"which cannot be read ({problem})"


def check_features(path: Any, features_RF: np.ndarray, width: int, field: str) -> None:
    """Raises UserError where features that lie beside a Gaussian are no finite floats `[R, F]`."""
    shape = features_RF.shape
    fits = features_RF.dtype.kind == "f" and len(shape) == 2 and shape[1] == width
    if not fits or not np.isfinite(features_RF).all():
        raise UserError(
            f"{field}: got {shown_path(path)} whose features are {features_RF.dtype} {shape}, "
            f"allowed are finite floats [pictures, {width}], as the network gives them"
        )


def problem_of(mean_F: np.ndarray, covariance_FF: np.ndarray) -> str:
    """Why these are no mean and covariance; "" where they are."""
    for name, values in (("mu", mean_F), ("sigma", covariance_FF)):
        if bad := int((~np.isfinite(values)).sum()):
            return f"whose {name} has {bad} values that are not finite"
    largest = np.abs(covariance_FF).max(initial=0.0)
    if np.abs(covariance_FF - covariance_FF.T).max(initial=0.0) > 1e-3 * largest:
        return "whose sigma is not symmetric"
    if (np.diagonal(covariance_FF) < -1e-6 * largest).any():
        return "whose sigma has variances below 0"
    return ""
