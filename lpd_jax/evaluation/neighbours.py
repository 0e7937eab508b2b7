"""Precision and recall of pictures by their nearest neighbours (Kynkäänniemi et al. 2019).

A set covers what lies in the ball of one of its pictures, as wide as the distance to its k-th
nearest other. Precision is how much of the generated the real ones cover, recall the reverse.

ADM's evaluator computes the distances in float16 and so differs in single pictures; these are
exact. Equal pictures are at distance 0, and a ball of radius 0 holds what is equal.

Letters: N real pictures, M generated ones, F features, R rows of one set, C rows of another.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lpd_jax.evaluation.gaussian import as_matrix
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError

BLOCK_ELEMENTS = 2**24  # distances at a time: 128 MB
NEAR = 1e-9  # of the squared norms: less is lost to rounding in the short formula
PAIRS_AT_ONCE = 2**12


class Neighbourhood(NamedTuple):
    """Who covers whom; squared distances."""

    real_radii_N: np.ndarray  # float64
    generated_radii_M: np.ndarray
    generated_covered_M: np.ndarray  # bool, by a real picture
    real_covered_N: np.ndarray  # by a generated one


def precision_recall(
    real_NF: np.ndarray, generated_MF: np.ndarray, k: int = 3
) -> tuple[float, float]:
    """Precision and recall, each 0 to 1, in float64.

    They depend on how many pictures there are: published ones compare 50,000 with 10,000 real.

    Args:
        real_NF: features of real pictures.
        generated_MF: features of generated ones.
        k: the ball of a picture reaches its k-th nearest other.

    Raises:
        UserError: no matrices of one width, not more than k rows, or values that are not finite.
    """
    around = neighbourhood(real_NF, generated_MF, k)
    return float(around.generated_covered_M.mean()), float(around.real_covered_N.mean())


def neighbourhood(real_NF: np.ndarray, generated_MF: np.ndarray, k: int = 3) -> Neighbourhood:
    """What `precision_recall` counts, picture by picture."""
    check_whole("k", k, 1)
    real_NF = checked_features("real", real_NF, k)
    generated_MF = checked_features("generated", generated_MF, k)
    if real_NF.shape[1] != generated_MF.shape[1]:
        raise UserError(
            f"generated: got {generated_MF.shape[1]} features, allowed are the "
            f"{real_NF.shape[1]} of the real pictures"
        )
    middle_F = real_NF.mean(axis=0)  # distances are the same, and lose no digits
    real_NF, generated_MF = real_NF - middle_F[None], generated_MF - middle_F[None]
    real_radii_N, generated_radii_M = (radii(rows_RF, k) for rows_RF in (real_NF, generated_MF))
    generated_covered_M = np.zeros(len(generated_MF), bool)
    real_covered_N = np.zeros(len(real_NF), bool)
    for rows, square_RC in distance_blocks(generated_MF, real_NF):
        generated_covered_M[rows] = (square_RC <= real_radii_N[None]).any(axis=1)
        real_covered_N |= (square_RC <= generated_radii_M[rows][:, None]).any(axis=0)
    return Neighbourhood(real_radii_N, generated_radii_M, generated_covered_M, real_covered_N)


def checked_features(name: str, rows_RF: np.ndarray, k: int) -> np.ndarray:
    """As float64, once they are a finite matrix with a k-th other row for each."""
    rows_RF = as_matrix(name, rows_RF)
    if rows_RF.ndim != 2 or len(rows_RF) <= k:
        raise UserError(
            f"{name}: got shape {rows_RF.shape}, allowed is [images, features] of more than "
            f"{k} images"
        )
    if not np.isfinite(rows_RF).all():
        bad = int((~np.isfinite(rows_RF)).any(axis=1).argmax())
        raise UserError(f"{name}: got row {bad}, which is not finite, allowed are finite numbers")
    return rows_RF


def radii(rows_RF: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other one, `[R]`."""
    radii_R = np.empty(len(rows_RF))
    for rows, square_RC in distance_blocks(rows_RF, rows_RF):
        radii_R[rows] = np.partition(square_RC, k, axis=1)[:, k]  # the row itself is the 0-th
    return radii_R


def distance_blocks(
    rows_RF: np.ndarray, others_CF: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of some rows to all others at a time."""
    size = max(1, BLOCK_ELEMENTS // len(others_CF))
    other_norms_C = np.square(others_CF).sum(axis=1)
    for first in range(0, len(rows_RF), size):
        rows = slice(first, first + size)
        yield rows, squared_distances(rows_RF[rows], others_CF, other_norms_C)


def squared_distances(
    rows_RF: np.ndarray, others_CF: np.ndarray, other_norms_C: np.ndarray
) -> np.ndarray:
    """By |u|^2 - 2uv + |v|^2, and those that this cannot tell from 0 by the difference itself."""
    norms_RC = np.square(rows_RF).sum(axis=1)[:, None] + other_norms_C[None]
    square_RC = norms_RC - 2 * (rows_RF @ others_CF.T)
    rows, columns = np.nonzero(square_RC < NEAR * norms_RC)
    for first in range(0, len(rows), PAIRS_AT_ONCE):
        pair = rows[first : first + PAIRS_AT_ONCE], columns[first : first + PAIRS_AT_ONCE]
        square_RC[pair] = np.square(rows_RF[pair[0]] - others_CF[pair[1]]).sum(axis=1)
    return np.maximum(square_RC, 0)
