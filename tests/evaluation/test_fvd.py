"""FVD by the formulas of StyleGAN-V and TATS: their own numbers on stored features."""

import pathlib

import numpy as np
import pytest

from lpd_jax.evaluation.frechet_video import FORMULAS, fvd
from lpd_jax.evaluation.gaussian import Statistics, feature_statistics
from lpd_jax.runtime.errors import UserError

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "fvd_dev.npz"))
FEW = GOLDEN["Y"][: int(GOLDEN["few_rows"])]
CASES = {
    "XY": (GOLDEN["X"], GOLDEN["Y"]),
    "XX": (GOLDEN["X"], GOLDEN["X"]),
    "X_few": (GOLDEN["X"], FEW),  # fewer rows than features
    "few_X": (FEW, GOLDEN["X"]),
}


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_the_evaluators(case):
    scale = max(1.0, float(GOLDEN[f"{case}/styleganv_f64"]))
    assert fvd(*CASES[case]) == pytest.approx(GOLDEN[f"{case}/styleganv_f64"], abs=2e-6 * scale)
    tats = fvd(*CASES[case], "tats")
    assert tats == pytest.approx(GOLDEN[f"{case}/tats_float64_f64"], abs=1e-9 * scale)
    # What its float32 prints is off by so much itself.
    assert tats == pytest.approx(float(GOLDEN[f"{case}/tats"]), abs=1e-3 * scale)


def test_the_formulas_differ_by_the_covariance():
    gap = fvd(*CASES["XY"], "tats") - fvd(*CASES["XY"])
    assert gap == pytest.approx(5.2036341 - 5.1798572, abs=1e-6)
    statistics = feature_statistics(GOLDEN["X"], unbiased=False)
    np.testing.assert_allclose(statistics.mean_F, GOLDEN["X_mu_f64"], atol=1e-12)
    np.testing.assert_allclose(statistics.covariance_FF, GOLDEN["X_cov_f64"], atol=1e-12)


def test_statistics_that_do_not_say_of_how_many_are_refused():
    known = feature_statistics(GOLDEN["X"])
    unknown = Statistics(known.mean_F, known.covariance_FF, 0)
    with pytest.raises(UserError, match="^reference: got one that does not say of how many clips"):
        FORMULAS["styleganv"](unknown, known)
    assert FORMULAS["tats"](unknown, known) == pytest.approx(0, abs=1e-9)
    with pytest.raises(UserError, match="^formula: got 'videogpt', allowed are styleganv, tats"):
        fvd(GOLDEN["X"], GOLDEN["Y"], "videogpt")
    with pytest.raises(UserError, match="^features: got 23 and 24"):
        fvd(GOLDEN["X"], GOLDEN["Y"][:, :23], "tats")
    with pytest.raises(UserError, match="^features: got row 0, which is not finite"):
        fvd(np.full((3, 2), np.nan), GOLDEN["Y"])
