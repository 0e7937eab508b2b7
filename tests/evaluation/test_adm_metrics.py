"""The metrics of ADM's evaluator and of torch-fidelity, against stored values and plain formulas.

The golden file comes from running ADM's evaluator and torch-fidelity on stored features; its
numbers may change only if theirs do.
"""

import pathlib

import numpy as np
import pytest
import scipy.linalg

from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.kernel import squared_discrepancy
from lpd_jax.evaluation.neighbours import neighbourhood, squared_distances

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "adm_metrics_dev.npz"
CASES = ["AB", "BA", "AA", "A_few", "few_A", "A_dup", "A_half", "big", "offset", "dup_ref"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def sets_of(golden, case):
    """(real, generated) of a case."""
    A, B = golden["A"], golden["B"]
    few = B[: int(golden["few_rows"])]
    half = B.copy()
    half[::2] = A[: len(half[::2])]
    return {
        "AB": (A, B),
        "BA": (B, A),
        "AA": (A, A),
        "A_few": (A, few),
        "few_A": (few, A),
        "A_dup": (A, golden["dup"]),
        "A_half": (A, half),
        "big": (200 * A, 200 * B),
        "offset": (A + 2, B + 2),
        "dup_ref": (A, np.repeat(A[:30], 5, axis=0)),
    }[case]


@pytest.mark.parametrize("case", CASES)
def test_fid_is_that_of_adm(golden, case):
    real, generated = (metrics.feature_statistics(x) for x in sets_of(golden, case))
    got = metrics.frechet_distance(generated, real)
    # Of ADM's own number 1e-6 is SciPy's root and a float32 mean; the other is without both.
    assert got == pytest.approx(float(golden[f"{case}/fid_exact_f64"]), rel=2e-6, abs=1e-9)
    assert got == pytest.approx(float(golden[f"{case}/fid_f64"]), rel=2e-6, abs=1e-9)


def test_sfid_is_that_of_adm(golden):
    first, second = (metrics.feature_statistics(golden[f"spatial_{x}"]) for x in "AB")
    got = metrics.frechet_distance(second, first)
    assert got == pytest.approx(float(golden["AB/sfid_exact_f64"]), rel=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_precision_and_recall_are_those_of_adm_picture_by_picture(golden, case):
    around = neighbourhood(*sets_of(golden, case))
    want = {name: golden[f"{case}/{name}_exact"] for name in ("sample_in", "ref_in")}
    np.testing.assert_array_equal(around.generated_covered_M, want["sample_in"])
    np.testing.assert_array_equal(around.real_covered_N, want["ref_in"])
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(around.real_radii_N, golden[f"{case}/radii_ref_exact"], **tolerance)
    np.testing.assert_allclose(
        around.generated_radii_M, golden[f"{case}/radii_sample_exact"], **tolerance
    )
    precision, recall = metrics.precision_recall(*sets_of(golden, case))
    for got, name in ((precision, "precision"), (recall, "recall")):
        assert got == float(golden[f"{case}/{name}_exact_f64"])
        assert got == float(golden[f"{case}/{name}_32_f64"])
        if case != "A_dup":  # five times the same: float16 rounds its distances of 0
            assert got == pytest.approx(float(golden[f"{case}/{name}_16_f64"]), abs=0.02)


def test_equal_pictures_are_at_distance_zero_wherever_they_lie():
    rows = np.random.default_rng(0).normal(size=(20, 300)) * 1e3 + 1e4
    square = squared_distances(rows, rows, np.square(rows).sum(axis=1))
    assert (np.diagonal(square) == 0).all()
    want = np.square(rows[:, None] - rows[None]).sum(axis=2)
    np.testing.assert_allclose(square, want, rtol=1e-5)


def test_precision_does_not_depend_on_how_distances_are_cut(golden, monkeypatch):
    whole = metrics.precision_recall(golden["A"], golden["B"])
    monkeypatch.setattr("lpd_jax.evaluation.neighbours.BLOCK_ELEMENTS", 1000)
    monkeypatch.setattr("lpd_jax.evaluation.neighbours.PAIRS_AT_ONCE", 2)
    assert metrics.precision_recall(golden["A"], golden["B"]) == whole


@pytest.mark.parametrize(
    ("name", "key", "size"),
    [
        ("B", "B/inception_score_split_f64", 60),
        ("B", "B/inception_score_f64", 5000),
        ("A", "A/inception_score_f64", 5000),
    ],
)
def test_inception_score_is_that_of_adm(golden, name, key, size):
    logits = golden[name] @ golden["W"]
    score, _ = metrics.inception_score(logits, split_size=size)
    assert score == pytest.approx(float(golden[key]), abs=2e-5)


@pytest.mark.parametrize("pair", ["AB", "AA"])
def test_kernel_distance_is_that_of_torch_fidelity(golden, pair):
    mean, spread = metrics.kernel_distance(
        golden[pair[0]],
        golden[pair[1]],
        num_subsets=int(golden["kid_subsets"]),
        subset_size=int(golden["kid_subset_size"]),
        seed=int(golden["kid_seed"]),
    )
    assert mean == pytest.approx(float(golden[f"{pair}/kid_mean_f64"]), abs=2e-6)
    assert spread == pytest.approx(float(golden[f"{pair}/kid_std_f64"]), abs=2e-6)


def test_one_subset_of_the_first_rows(golden):
    rows = min(len(golden["A"]), len(golden["B"]))
    first, second = (golden[x][:rows].astype(np.float64) for x in "AB")
    want = float(golden["AB/mmd2_first_rows_f64"])
    assert squared_discrepancy(first, second) == pytest.approx(want, abs=2e-6)


def adm_fid(first, second):
    """ADM's formula as its evaluator has it: SciPy's root of the product of the covariances."""
    means = first.mean(axis=0), second.mean(axis=0)
    sigmas = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(sigmas[0].dot(sigmas[1]))
    shift = means[0] - means[1]
    return float(shift @ shift + np.trace(sigmas[0] + sigmas[1] - 2 * np.real(root)))


def adm_covered(sets, others, k=3):
    """Of `others` those in some ball of `sets`, by the plain difference of each pair."""
    covered = np.zeros(len(others), bool)
    for row in sets:
        radius = np.sort(np.square(sets - row).sum(axis=1))[k]
        covered |= np.square(others - row).sum(axis=1) <= radius
    return covered.mean()


def test_ten_thousand_features_by_adms_formulas():
    random = np.random.default_rng(0)
    mix = random.normal(size=(32, 32)) / 6
    real = np.maximum(random.normal(size=(10_000, 32)) @ mix + 0.3, 0)
    generated = np.maximum(random.normal(size=(10_000, 32)) @ mix * 0.9 + 0.35, 0)
    got = metrics.frechet_distance(*map(metrics.feature_statistics, (generated, real)))
    assert got == pytest.approx(adm_fid(generated, real), abs=1e-6)

    logits = generated @ random.normal(size=(32, 20))
    scores = []
    for first in range(0, 10_000, 5000):
        part = logits[first : first + 5000]
        part = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
        divergence = part * (np.log(part) - np.log(part.mean(axis=0, keepdims=True)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    got = metrics.inception_score(logits, split_size=5000)[0]
    assert got == pytest.approx(np.mean(scores), abs=1e-6)

    # All pairs of 10,000 by plain differences take a minute: of 1,000 here.
    real, generated = real[:1000], generated[:1000]
    precision, recall = metrics.precision_recall(real, generated)
    assert precision == pytest.approx(adm_covered(real, generated), abs=1e-6)
    assert recall == pytest.approx(adm_covered(generated, real), abs=1e-6)


def test_a_covariance_over_all_images_or_over_one_less():
    rows = np.random.default_rng(0).normal(size=(7, 3))
    unbiased = metrics.feature_statistics(rows).covariance_FF
    biased = metrics.feature_statistics(rows, unbiased=False).covariance_FF
    np.testing.assert_allclose(unbiased * 6 / 7, biased)
    np.testing.assert_allclose(unbiased, np.cov(rows, rowvar=False))


NAN = np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
FINE = np.arange(10.0).reshape(5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.precision_recall(FINE, NAN), "generated: got row 1, which is not finite"),
        (lambda: metrics.precision_recall(FINE[:3], FINE), r"real: got shape \(3, 2\), allowed"),
        (lambda: metrics.precision_recall(FINE, FINE[:, :1]), "generated: got 1 features, allowed"),
        (lambda: metrics.precision_recall(FINE, FINE, k=0), "k: got 0"),
        (lambda: metrics.kernel_distance(NAN, FINE, subset_size=2), "real: got row 1"),
        (lambda: metrics.kernel_distance(FINE, FINE), "subset_size: got 1000, allowed"),
        (lambda: metrics.inception_score(NAN, 1), "logits: got"),
        (lambda: metrics.inception_score(FINE, split_size=0), "split_size: got 0"),
        (lambda: metrics.feature_statistics(FINE, unbiased="no"), "unbiased: got 'no'"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        call()
    assert "\n" not in str(error.value)
