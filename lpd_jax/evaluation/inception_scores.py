"""The inception score: are pictures clear, each of some class, and are all classes there?

Letters: B pictures, C classes.
"""

import numpy as np
import scipy.special

from lpd_jax.evaluation.gaussian import as_matrix
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError, shown


def inception_score(
    logits_BC: np.ndarray, num_splits: int = 10, *, split_size: int | None = None
) -> tuple[float, float]:
    """Mean and standard deviation of the inception score over splits (Salimans et al. 2016).

    The images are split in the order they come; shuffle before if that order is one of classes.

    Args:
        logits_BC: classifier logits `[B, C]`.
        num_splits: how many parts of about one size, as torch-fidelity has it; one score each.
        split_size: or so many images in a part, fewer in the last, as ADM has it.

    Raises:
        UserError: more splits than images, or fewer than one.
    """
    logits_BC = as_matrix("logits", logits_BC)
    if split_size is not None:
        num_splits = 1
    if logits_BC.ndim != 2 or not logits_BC.size or not np.isfinite(logits_BC).all():
        raise UserError(
            f"logits: got {shown(logits_BC)}, allowed are finite numbers [images, classes]"
        )
    check_whole("num_splits", num_splits, 1, len(logits_BC))
    cuts = np.arange(1, num_splits) * len(logits_BC) // num_splits
    if split_size is not None:
        size = check_whole("split_size", split_size, 1)
        cuts = np.arange(size, len(logits_BC), size)
    scores = []
    for part_BC in np.array_split(scipy.special.log_softmax(logits_BC, axis=1), cuts):
        marginal_C = scipy.special.logsumexp(part_BC, axis=0) - np.log(len(part_BC))
        divergence_B = (np.exp(part_BC) * (part_BC - marginal_C[None])).sum(axis=1)
        scores.append(np.exp(divergence_B.mean()))
    return float(np.mean(scores)), float(np.std(scores))
