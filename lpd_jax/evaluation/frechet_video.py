"""Fréchet video distances by the formulas of the two evaluators that papers use, under their names.

Both compare Gaussians of I3D's logits. StyleGAN-V's divides covariances by the number of clips N,
TATS's (and VideoGPT's) by N - 1 and takes the root in its own way: 5.180 against 5.204 for 120 and
150 clips of 24 features, so a number without its formula says little.

Letters: N clips, F features.
"""

from collections.abc import Callable

import numpy as np

from lpd_jax.evaluation.frechet import frechet_distance
from lpd_jax.evaluation.gaussian import Statistics, check_statistics, feature_statistics
from lpd_jax.runtime.arguments import check_choice
from lpd_jax.runtime.errors import UserError

STYLEGANV, TATS = "styleganv", "tats"
SMALL = 1e-10  # singular values below it keep their value where TATS takes roots


def fvd(real_NF: np.ndarray, drawn_NF: np.ndarray, formula: str = STYLEGANV) -> float:
    """The Fréchet video distance of two sets of features.

    Args:
        real_NF: I3D's features of real clips.
        drawn_NF: of those that are judged.
        formula: "styleganv", as NBP, LARP and NAR use it too, or "tats", as VideoGPT does.

    Raises:
        UserError: no such formula, or features that are no two matrices of finite numbers.
    """
    check_choice("formula", formula, tuple(FORMULAS))
    real, drawn = feature_statistics(real_NF), feature_statistics(drawn_NF)
    return FORMULAS[formula](real, drawn)


def styleganv_distance(real: Statistics, drawn: Statistics) -> float:
    """Of statistics whose covariances are unbiased, as `feature_statistics` gives them.

    Raises:
        UserError: statistics that do not say of how many clips they are.
    """
    return frechet_distance(*map(biased, (drawn, real)))


def biased(statistics: Statistics) -> Statistics:
    """The same, the covariance divided by N, not by N - 1."""
    check_statistics("statistics", statistics)
    count = statistics.num_images
    if count < 2:
        raise UserError(
            "reference: got one that does not say of how many clips it is, allowed for "
            f"{STYLEGANV} is one that does, as --make_reference writes it"
        )
    shrunk_FF = statistics.covariance_FF * ((count - 1) / count)
    return statistics._replace(covariance_FF=shrunk_FF)


def tats_distance(real: Statistics, drawn: Statistics) -> float:
    """Likewise. TATS computes it in float32, which is off by up to 4e-4; here it is float64.

    Rounding leaves a set and itself a hair beside 0, on either side.
    """
    for name, statistics in (("real", real), ("drawn", drawn)):
        check_statistics(name, statistics)
    if real.mean_F.shape != drawn.mean_F.shape:
        raise UserError(
            f"features: got {drawn.mean_F.size} and {real.mean_F.size}, allowed are equal numbers"
        )
    root_FF = root_of_symmetric(real.covariance_FF)
    overlap = np.trace(root_of_symmetric(root_FF @ drawn.covariance_FF @ root_FF))
    spread = np.trace(real.covariance_FF) + np.trace(drawn.covariance_FF)
    shift_F = drawn.mean_F - real.mean_F
    return float(shift_F @ shift_F + spread - 2 * overlap)


def root_of_symmetric(matrix_FF: np.ndarray) -> np.ndarray:
    """Matrix square root by singular values, of which the smallest stay as they are."""
    left_FF, values_F, right_FF = np.linalg.svd(matrix_FF)
    roots_F = np.where(values_F < SMALL, values_F, np.sqrt(values_F))
    return (left_FF * roots_F[None]) @ right_FF


FORMULAS: dict[str, Callable[[Statistics, Statistics], float]] = {
    STYLEGANV: styleganv_distance,
    TATS: tats_distance,
}
