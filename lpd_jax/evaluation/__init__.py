"""Distances between sets of pictures, and the networks whose features they compare.

A network makes features of pictures (`load_inception`, `load_efficientnet`, and `load_classifier`
for the bundled avatars); the functions of `metrics` compare features and know no network.
"""

from typing import TYPE_CHECKING

from lpd_jax.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from lpd_jax.evaluation.avatar_classifier import Classifier, load_classifier
    from lpd_jax.evaluation.efficientnet import EfficientNet, load_efficientnet
    from lpd_jax.evaluation.fid import FIDConfig
    from lpd_jax.evaluation.inception import Inception, load_inception
    from lpd_jax.evaluation.metrics import (
        RunningStatistics,
        Statistics,
        feature_statistics,
        frechet_distance,
        frechet_spread,
        inception_score,
        kernel_distance,
        load_statistics,
        precision_recall,
        save_statistics,
    )
    from lpd_jax.evaluation.reconstruction import (
        ReconstructionReport,
        measure_reconstruction,
        reconstruction_picture,
    )

__all__ = [
    "Classifier",
    "EfficientNet",
    "FIDConfig",
    "Inception",
    "ReconstructionReport",
    "RunningStatistics",
    "Statistics",
    "feature_statistics",
    "frechet_distance",
    "frechet_spread",
    "inception_score",
    "kernel_distance",
    "load_classifier",
    "load_efficientnet",
    "load_inception",
    "load_statistics",
    "measure_reconstruction",
    "precision_recall",
    "reconstruction_picture",
    "save_statistics",
]

# They import SciPy, and FID of a training run the packages of `lpd_jax[train]`.
__getattr__ = on_first_use(
    __name__,
    {
        "Classifier": "avatar_classifier",
        "EfficientNet": "efficientnet",
        "FIDConfig": "fid",
        "Inception": "inception",
        "ReconstructionReport": "reconstruction",
        "RunningStatistics": "metrics",
        "Statistics": "metrics",
        "feature_statistics": "metrics",
        "frechet_distance": "metrics",
        "frechet_spread": "metrics",
        "inception_score": "metrics",
        "kernel_distance": "metrics",
        "load_classifier": "avatar_classifier",
        "load_efficientnet": "efficientnet",
        "load_inception": "inception",
        "load_statistics": "metrics",
        "measure_reconstruction": "reconstruction",
        "precision_recall": "metrics",
        "reconstruction_picture": "reconstruction",
        "save_statistics": "metrics",
    },
)
