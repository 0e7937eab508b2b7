"""Suites of metrics under their own names: numbers of one suite do not compare with another's.

"adm" is what ADM's evaluator prints, "torch_fidelity" what torch-fidelity does, both of Inception's
features. "styleganv" and "tats" are the two formulas of FVD, of I3D's features of clips. "features"
is for other networks, whose distances are no FID.

Letters: B pictures, F features.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.evaluation.frechet import frechet_distance
from lpd_jax.evaluation.frechet_video import FORMULAS, STYLEGANV
from lpd_jax.evaluation.gaussian import RunningStatistics, Statistics
from lpd_jax.evaluation.inception_scores import inception_score
from lpd_jax.evaluation.judges import FEATURES, I3D, INCEPTION, SPATIAL, Judge
from lpd_jax.evaluation.kernel import kernel_distance
from lpd_jax.evaluation.neighbours import precision_recall
from lpd_jax.evaluation.references import Reference
from lpd_jax.runtime.errors import UserError, listed, shown

ADM, TORCH_FIDELITY, OTHER = "adm", "torch_fidelity", "features"
ADM_SPLIT = 5000  # pictures of a split of the inception score
FIDELITY_SPLITS, FIDELITY_SEED = 10, 2020
KERNEL_SUBSET = 1000
NEIGHBOURS = 3

Numbers = dict[str, float | None]  # None: the reference has not what it takes


class Evidence(NamedTuple):
    """Judged pictures as a network sees them."""

    statistics: dict[str, Statistics]  # tap -> Gaussian
    features_BF: np.ndarray  # float32
    labels_B: np.ndarray | None = None  # where they are classes of the network


def gather_evidence(
    parts: Iterable[dict[str, np.ndarray]], judge: Judge, labels_B: np.ndarray | None = None
) -> Evidence:
    """Sums up features that come in parts; of those that FID alone needs, nothing else is kept."""
    sums = {tap: RunningStatistics() for tap in judge.widths}
    kept = []
    for part in parts:
        for tap, running in sums.items():
            running.add(part[tap])
        kept.append(part[FEATURES])
    statistics = {tap: running.statistics() for tap, running in sums.items()}
    return Evidence(statistics, np.concatenate(kept), labels_B)


def suites_for(judge: Judge, asked: Iterable[str] = ()) -> tuple[str, ...]:
    """The suites to measure: those asked for, or all that fit the network.

    Raises:
        UserError: a suite that needs another network.
    """
    fitting = {INCEPTION: (ADM, TORCH_FIDELITY), I3D: tuple(FORMULAS)}.get(judge.name, (OTHER,))
    chosen = tuple(dict.fromkeys(asked)) or fitting
    for name in chosen:
        if name not in fitting:
            raise UserError(
                f"suites: got {shown(name)}, allowed with network {shown(judge.name)} are "
                f"{listed(fitting)}"
            )
    return chosen


def measure(
    suites: Iterable[str], drawn: Evidence, reference: Reference, judge: Judge
) -> dict[str, Numbers]:
    """Suite -> name -> number."""
    return {name: SUITES[name](drawn, reference, judge) for name in suites}


def adm(drawn: Evidence, reference: Reference, judge: Judge) -> Numbers:
    """FID, sFID, Inception Score, precision and recall as ADM's evaluator.

    Its precision and recall are computed in float16 there, exactly here: single pictures differ.
    """
    numbers: Numbers = {"fid": distance(drawn, reference, FEATURES)}
    numbers["sfid"] = distance(drawn, reference, SPATIAL)
    logits_BC = judge.logits(drawn.features_BF)
    numbers["inception_score"] = inception_score(logits_BC, split_size=ADM_SPLIT)[0]
    return numbers | covering(drawn, reference)


def torch_fidelity(drawn: Evidence, reference: Reference, judge: Judge) -> Numbers:
    """FID, Inception Score and KID as torch-fidelity, which LPD uses."""
    order_B = np.random.RandomState(FIDELITY_SEED).permutation(len(drawn.features_BF))
    logits_BC = judge.logits(drawn.features_BF)[order_B]
    splits = min(FIDELITY_SPLITS, len(logits_BC))
    score, spread = inception_score(logits_BC, splits)
    numbers: Numbers = {"fid": distance(drawn, reference, FEATURES)}
    numbers |= {"inception_score": score, "inception_score_std": spread}
    return numbers | kernel_numbers(drawn, reference, "kid")


def features(drawn: Evidence, reference: Reference, judge: Judge) -> Numbers:
    """The same ideas over the features of another network."""
    numbers: Numbers = {"frechet_distance": distance(drawn, reference, FEATURES)}
    numbers |= covering(drawn, reference)
    numbers |= kernel_numbers(drawn, reference, "kernel_distance")
    if drawn.labels_B is not None:
        likeliest_B = judge.logits(drawn.features_BF).argmax(axis=1)
        numbers["class_agreement"] = float((likeliest_B == drawn.labels_B).mean())
    return numbers


def fvd_by(formula: str) -> Callable[[Evidence, Reference, Judge], Numbers]:
    """A suite of one number."""

    def suite(drawn: Evidence, reference: Reference, judge: Judge) -> Numbers:
        del judge
        real = reference.statistics[FEATURES]
        if formula == STYLEGANV and not real.num_images:  # its file does not say
            return {"fvd": None}
        return {"fvd": FORMULAS[formula](real, drawn.statistics[FEATURES])}

    return suite


SUITES: dict[str, Callable[[Evidence, Reference, Judge], Numbers]] = {
    ADM: adm,
    TORCH_FIDELITY: torch_fidelity,
    OTHER: features,
} | {name: fvd_by(name) for name in FORMULAS}


def distance(drawn: Evidence, reference: Reference, tap: str) -> float | None:
    if tap not in reference.statistics:
        return None
    return frechet_distance(drawn.statistics[tap], reference.statistics[tap])


def covering(drawn: Evidence, reference: Reference) -> Numbers:
    if not enough(drawn, reference, NEIGHBOURS + 1):
        return {"precision": None, "recall": None}
    precision, recall = precision_recall(
        np.asarray(reference.features_RF), drawn.features_BF, NEIGHBOURS
    )
    return {"precision": precision, "recall": recall}


def kernel_numbers(drawn: Evidence, reference: Reference, name: str) -> Numbers:
    """The distance, and over subsets of how many pictures: 1000 as published, or as many as are."""
    if not enough(drawn, reference, 2):
        return {name: None, f"{name}_std": None, f"{name}_subset": None}
    real_RF = np.asarray(reference.features_RF)
    size = min(KERNEL_SUBSET, len(real_RF), len(drawn.features_BF))
    mean, spread = kernel_distance(real_RF, drawn.features_BF, subset_size=size)
    return {name: mean, f"{name}_std": spread, f"{name}_subset": size}


def enough(drawn: Evidence, reference: Reference, count: int) -> bool:
    real_RF: Any = reference.features_RF
    return real_RF is not None and min(len(real_RF), len(drawn.features_BF)) >= count
