"""Distances and scores of features: NumPy and SciPy in float64, no model in sight.

A number is only comparable with another one over the same features, the same reference and the
same number of images (fewer images read as a larger distance): say all three beside the number.
"""

from lpd_jax.evaluation.frechet import frechet_distance, frechet_spread
from lpd_jax.evaluation.gaussian import (
    RunningStatistics,
    Statistics,
    as_features,
    as_matrix,
    check_statistics,
    feature_statistics,
)
from lpd_jax.evaluation.gaussian_files import load_statistics, save_statistics
from lpd_jax.evaluation.inception_scores import inception_score
from lpd_jax.evaluation.kernel import kernel_distance
from lpd_jax.evaluation.neighbours import precision_recall

__all__ = [
    "RunningStatistics",
    "Statistics",
    "as_features",
    "as_matrix",
    "check_statistics",
    "feature_statistics",
    "frechet_distance",
    "frechet_spread",
    "inception_score",
    "kernel_distance",
    "load_statistics",
    "precision_recall",
    "save_statistics",
]
