"""Kernel distance of two sets of features, KID among them (Bińkowski et al. 2018).

Letters: N real pictures, M generated ones, F features, S those of a subset.
"""

import numpy as np

from lpd_jax.evaluation.neighbours import checked_features
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError

DEGREE = 3


def kernel_distance(
    real_NF: np.ndarray,
    generated_MF: np.ndarray,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """Mean and standard deviation over subsets of the squared maximum mean discrepancy.

    The kernel is (xy / F + 1)^3 and the estimate unbiased, so it may fall below 0. Subsets, real
    first, are those that torch-fidelity draws.

    Args:
        real_NF: features of real pictures.
        generated_MF: features of generated ones.
        num_subsets: how many are drawn, each without repeats.
        subset_size: pictures of each set in a subset.
        seed: of NumPy's `RandomState`.

    Raises:
        UserError: no matrices of one width, subsets larger than a set, or values that are not
            finite.
    """
    real_NF = checked_features("real", real_NF, 1)
    generated_MF = checked_features("generated", generated_MF, 1)
    if real_NF.shape[1] != generated_MF.shape[1]:
        raise UserError(
            f"generated: got {generated_MF.shape[1]} features, allowed are the "
            f"{real_NF.shape[1]} of the real pictures"
        )
    check_whole("num_subsets", num_subsets, 1)
    check_whole("subset_size", subset_size, 2, min(len(real_NF), len(generated_MF)))
    random = np.random.RandomState(check_whole("seed", seed, 0, 2**32 - 1))
    distances = []
    for _ in range(num_subsets):
        real_SF, generated_SF = (
            rows[random.choice(len(rows), subset_size, replace=False)]
            for rows in (real_NF, generated_MF)
        )
        distances.append(squared_discrepancy(real_SF, generated_SF))
    return float(np.mean(distances)), float(np.std(distances))


def squared_discrepancy(real_SF: np.ndarray, generated_SF: np.ndarray) -> float:
    """The unbiased estimate for two sets of one size."""
    count = len(real_SF)
    across = kernel(real_SF, generated_SF).mean()
    within = 0.0
    for rows_SF in (real_SF, generated_SF):
        values_SS = kernel(rows_SF, rows_SF)
        within += (values_SS.sum() - np.trace(values_SS)) / (count * (count - 1))
    return float(within - 2 * across)


def kernel(rows_SF: np.ndarray, others_SF: np.ndarray) -> np.ndarray:
    return (rows_SF @ others_SF.T / rows_SF.shape[1] + 1) ** DEGREE
