"""Fréchet distance and inception score: NumPy and SciPy on features, no model in sight.

A distance is only comparable with another one over the same features, the same reference and the
same number of images (fewer images read as a larger distance): say all three beside the number.
"""

import os
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.special

from lpd_jax.runtime.arguments import as_array, as_path, check_whole
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.foreign_files import what_instead

MOST_RESAMPLES = 10_000
# What reading a damaged .npz raises, one whose header lies about its sizes among them.
DAMAGE = (
    *(ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, OverflowError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


class Statistics(NamedTuple):
    """A Gaussian fitted to features."""

    mean_F: np.ndarray  # float64
    covariance_FF: np.ndarray  # float64, unbiased (divided by num_images - 1)
    num_images: int  # it was fitted to; 0 where a file does not say


def feature_statistics(features_BF: np.ndarray) -> Statistics:
    """Fits a Gaussian to features `[B, F]`, in float64.

    Raises:
        UserError: no matrix, fewer than two images, or values that are not finite.
    """
    features_BF = as_matrix("features", features_BF)
    if features_BF.ndim != 2 or len(features_BF) < 2:
        raise UserError(
            f"features: got shape {features_BF.shape}, allowed is [images, features] of 2 or more"
        )
    if not np.isfinite(features_BF).all():
        bad = int((~np.isfinite(features_BF)).any(axis=1).argmax())
        raise UserError(f"features: got row {bad}, which is not finite, allowed are finite numbers")
    mean_F = features_BF.mean(axis=0)
    centred_BF = features_BF - mean_F[None]
    return Statistics(mean_F, centred_BF.T @ centred_BF / (len(features_BF) - 1), len(features_BF))


def as_matrix(name: str, values: Any) -> np.ndarray:
    """Real numbers as float64; their shape is for the caller to judge."""
    array = as_array(name, values, "are finite numbers")
    if array.dtype.kind in "bc":
        raise UserError(f"{name}: got {shown(array)}, allowed are real numbers")
    return array.astype(np.float64, copy=False)


def as_features(features_BF: Any, width: int) -> np.ndarray:
    """Features of one network, `[B, width]`, in the type they come in."""
    array = as_array("features", features_BF, f"are numbers [images, {width}]")
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind in "bc":
        raise UserError(f"features: got {shown(array)}, allowed are numbers [images, {width}]")
    return array


def check_statistics(name: str, value: Any) -> None:
    """Raises UserError for what `feature_statistics` does not give."""
    if not isinstance(value, Statistics):
        raise UserError(f"{name}: got {shown(value)}, allowed is what `feature_statistics` gives")


class RunningStatistics:
    """The same fit to features that come in parts and need not stay in memory."""

    def __init__(self) -> None:
        self.count = 0
        self.centre_F = np.zeros(0)  # of the first part

    def add(self, features_BF: np.ndarray) -> None:
        """Takes features `[B, F]` in."""
        features_BF = as_matrix("features", features_BF)
        if features_BF.ndim != 2 or (self.count and features_BF.shape[1] != self.centre_F.size):
            wanted = f"[images, {self.centre_F.size}]" if self.count else "[images, features]"
            raise UserError(f"features: got shape {features_BF.shape}, allowed is {wanted}")
        if not len(features_BF):
            return
        if self.count == 0:
            # Sums of what is near zero lose no digits.
            self.centre_F = features_BF.mean(axis=0)
            self.sum_F = np.zeros_like(self.centre_F)
            self.products_FF = np.zeros((self.centre_F.size,) * 2)
        shifted_BF = features_BF - self.centre_F[None]
        self.count += len(features_BF)
        self.sum_F += shifted_BF.sum(axis=0)
        self.products_FF += shifted_BF.T @ shifted_BF

    def statistics(self) -> Statistics:
        """What `feature_statistics` gives for all parts together. Raises UserError likewise."""
        if self.count < 2:
            raise UserError(f"features: got {self.count} images, allowed are at least 2")
        mean_F = self.sum_F / self.count
        spread_FF = self.products_FF - self.count * np.outer(mean_F, mean_F)
        if not np.isfinite(spread_FF).all():
            raise UserError("features: got some that are not finite, allowed are finite numbers")
        return Statistics(self.centre_F + mean_F, spread_FF / (self.count - 1), self.count)


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
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{field}: got {shown_path(path)}, which cannot be read ({problem}); {allowed}"
        ) from None
    if mean_F.ndim != 1 or covariance_FF.shape != (mean_F.size,) * 2:
        raise UserError(
            f"{field}: got {shown_path(path)} with mu {mean_F.shape} and sigma "
            f"{covariance_FF.shape}; "
            f"{allowed}"
        )
    if problem := problem_of(mean_F, covariance_FF):
        raise UserError(f"{field}: got {shown_path(path)}, {problem}; {allowed}")
    return Statistics(mean_F, covariance_FF, num_images)


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


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """Squared 2-Wasserstein distance of two Gaussians (Heusel et al. 2017, equation 6).

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)). The last trace is the sum of the singular
    values of L1^T L2 for any factors C = L L^T. It needs no matrix square root, so a singular
    covariance (fewer images than features) is no special case and there is no epsilon to choose.

    Raises:
        UserError: the two have different numbers of features, or one has values that are not
            finite.
    """
    check_statistics("first", first)
    check_statistics("second", second)
    return _distance_to(second, _factor(second.covariance_FF), first)


def _distance_to(reference: Statistics, factor_FF: np.ndarray, other: Statistics) -> float:
    """The distance to a reference whose covariance was factored before."""
    if other.mean_F.shape != reference.mean_F.shape:
        raise UserError(
            f"features: got {other.mean_F.size} and {reference.mean_F.size}, allowed are equal "
            "numbers"
        )
    if not (np.isfinite(other.mean_F).all() and np.isfinite(other.covariance_FF).all()):
        raise UserError("features: got some that are not finite, allowed are finite numbers")
    shift_F = other.mean_F - reference.mean_F
    overlap_FF = _factor(other.covariance_FF).T @ factor_FF
    spread = np.trace(other.covariance_FF) + np.trace(reference.covariance_FF)
    distance = shift_F @ shift_F + spread - 2 * scipy.linalg.svdvals(overlap_FF).sum()
    if not np.isfinite(distance):
        raise UserError("features: got some that are not finite, allowed are finite numbers")
    return max(0.0, float(distance))  # rounding leaves a set and itself at -1e-14 or so


def _factor(covariance_FF: np.ndarray) -> np.ndarray:
    """L with L L^T = C, for a C that may be singular (Cholesky would refuse it)."""
    if not np.isfinite(covariance_FF).all():
        raise UserError("covariance: got values that are not finite, allowed are finite numbers")
    values_F, vectors_FF = np.linalg.eigh(covariance_FF)
    return vectors_FF * np.sqrt(np.clip(values_F, 0.0, None))[None]


def frechet_spread(
    features_BF: np.ndarray, reference: Statistics, num_resamples: int = 20, seed: int = 0
) -> float:
    """Standard deviation of the distance over bootstrap resamples of the images.

    The resamples' own distances are biased upwards (an image drawn twice adds nothing new), their
    scatter is the useful part: differences between points below it mean nothing.
    """
    check_statistics("reference", reference)
    check_whole("num_resamples", num_resamples, 2, MOST_RESAMPLES)
    features_BF = as_matrix("features", features_BF)
    if features_BF.ndim != 2 or len(features_BF) < 2:
        raise UserError(f"features: got {shown(features_BF)}, allowed is [images, features]")
    generator = np.random.default_rng(check_whole("seed", seed, 0, 2**64 - 1))
    factor_FF, distances = _factor(reference.covariance_FF), []
    for _ in range(num_resamples):
        rows_B = generator.integers(len(features_BF), size=len(features_BF))
        resampled = feature_statistics(features_BF[rows_B])
        distances.append(_distance_to(reference, factor_FF, resampled))
    return float(np.std(distances, ddof=1))


def inception_score(logits_BC: np.ndarray, num_splits: int = 10) -> tuple[float, float]:
    """Mean and standard deviation of the inception score over splits (Salimans et al. 2016).

    The images are split in the order they come; shuffle before if that order is one of classes.

    Args:
        logits_BC: classifier logits `[B, C]`.
        num_splits: how many parts; one score each.

    Raises:
        UserError: more splits than images, or fewer than one.
    """
    logits_BC = as_matrix("logits", logits_BC)
    if logits_BC.ndim != 2 or not logits_BC.size or not np.isfinite(logits_BC).all():
        raise UserError(
            f"logits: got {shown(logits_BC)}, allowed are finite numbers [images, classes]"
        )
    num_splits = check_whole("num_splits", num_splits, 1, len(logits_BC))
    scores = []
    for part_BC in np.array_split(scipy.special.log_softmax(logits_BC, axis=1), num_splits):
        marginal_C = scipy.special.logsumexp(part_BC, axis=0) - np.log(len(part_BC))
        divergence_B = (np.exp(part_BC) * (part_BC - marginal_C[None])).sum(axis=1)
        scores.append(np.exp(divergence_B.mean()))
    return float(np.mean(scores)), float(np.std(scores))
