"""Gaussians fitted to features, all at once or as they come.

Letters: B pictures, F features.
"""

from typing import Any, NamedTuple

import numpy as np

from lpd_jax.runtime.arguments import as_array, check_flag
from lpd_jax.runtime.errors import UserError, shown


class Statistics(NamedTuple):
    """A Gaussian fitted to features."""

    mean_F: np.ndarray  # float64
    covariance_FF: np.ndarray  # float64, unbiased unless asked for otherwise
    num_images: int  # it was fitted to; 0 where a file does not say


def feature_statistics(features_BF: np.ndarray, unbiased: bool = True) -> Statistics:
    """Fits a Gaussian to features `[B, F]`, in float64.

    Args:
        features_BF: one row a picture.
        unbiased: divide the covariance by B - 1, as ADM, torch-fidelity and all published numbers
            do; by B otherwise.

    Raises:
        UserError: no matrix, fewer than two images, or values that are not finite.
    """
    check_flag("unbiased", unbiased)
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
    count = len(features_BF)
    return Statistics(mean_F, centred_BF.T @ centred_BF / (count - unbiased), count)


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
