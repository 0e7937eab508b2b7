"""The Fréchet distance of Gaussians of features, FID among them.

Letters: B pictures, F features.
"""

import numpy as np
import scipy.linalg

from lpd_jax.evaluation.gaussian import (
    Statistics,
    as_matrix,
    check_statistics,
    feature_statistics,
)
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError, shown

MOST_RESAMPLES = 10_000


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
