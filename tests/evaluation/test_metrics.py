"""Fréchet distance and inception score against closed forms and stored reference values."""

import pathlib

import numpy as np
import pytest

from lpd_jax.evaluation import metrics

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "fid_is.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def gaussian(mean_F, covariance_FF):
    return metrics.Statistics(np.array(mean_F, float), np.array(covariance_FF, float), 100)


def test_a_set_is_at_distance_zero_from_itself(golden):
    statistics = metrics.feature_statistics(golden["A"])
    assert metrics.frechet_distance(statistics, statistics) < 1e-9


def test_statistics_match_the_reference(golden):
    statistics = metrics.feature_statistics(golden["A"])
    np.testing.assert_allclose(statistics.mean_F, golden["muA"], atol=1e-6)
    np.testing.assert_allclose(statistics.covariance_FF, golden["sigmaA"], atol=1e-6)
    assert statistics.num_images == 400


@pytest.mark.parametrize("other", ["B", "C"])  # C: 48 images of 64 features, a singular covariance
def test_distance_matches_the_reference(golden, other):
    first = metrics.feature_statistics(golden["A"])
    second = metrics.feature_statistics(golden[other])
    want = float(golden[f"fid_A{other}"])
    assert metrics.frechet_distance(first, second) == pytest.approx(want, abs=1e-4)
    assert metrics.frechet_distance(second, first) == pytest.approx(want, abs=1e-4)


def test_commuting_gaussians_give_the_closed_form():
    first = gaussian([1.0, 0.0], np.diag([4.0, 9.0]))
    second = gaussian([0.0, 2.0], np.diag([1.0, 25.0]))
    assert metrics.frechet_distance(first, second) == pytest.approx(5 + 1**2 + 2**2)


def test_gaussians_that_do_not_commute_give_the_two_by_two_closed_form():
    # For 2x2: tr(sqrt(M)) = sqrt(tr(M) + 2 sqrt(det(M))), M = C1 C2.
    C1, C2 = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 4.0]])
    product = C1 @ C2
    overlap = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    want = np.trace(C1) + np.trace(C2) - 2 * overlap
    got = metrics.frechet_distance(gaussian([0, 0], C1), gaussian([0, 0], C2))
    assert got == pytest.approx(want)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_at_no_distance(odd):
    whole = gaussian([0, 0], np.eye(2))
    for bad in (gaussian([0, odd], np.eye(2)), gaussian([0, 0], np.diag([1, odd]))):
        for first, second in ((whole, bad), (bad, whole)):
            with pytest.raises(ValueError, match="not finite"):
                metrics.frechet_distance(first, second)


def test_two_points_without_any_spread_are_at_their_squared_distance():
    nothing = np.zeros((3, 3))
    got = metrics.frechet_distance(gaussian([0, 0, 0], nothing), gaussian([1, 2, 2], nothing))
    assert got == pytest.approx(9.0)


def test_spread_shrinks_with_the_number_of_images():
    features_BF = np.random.default_rng(0).normal(size=(4000, 4)) + 0.5
    reference = gaussian(np.zeros(4), np.eye(4))
    few = metrics.frechet_spread(features_BF[:200], reference)
    many = metrics.frechet_spread(features_BF, reference)
    assert 0 < many < few / 2


@pytest.mark.parametrize("name", ["isc_noshuffle", "isc_shuffle2020"])
def test_inception_score_matches_the_reference(golden, name):
    logits_BC = golden["L"]
    if name == "isc_shuffle2020":
        logits_BC = logits_BC[np.random.RandomState(2020).permutation(len(logits_BC))]
    np.testing.assert_allclose(metrics.inception_score(logits_BC), golden[name], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.feature_statistics(np.zeros(3)), r"features: got shape \(3,\)"),
        (lambda: metrics.feature_statistics(np.zeros((1, 3))), r"features: got shape \(1, 3\)"),
        (
            lambda: metrics.feature_statistics(np.array([[0.0], [np.nan]])),
            "got row 1, which is not",
        ),
        (
            lambda: metrics.frechet_distance(gaussian([0], [[1]]), gaussian([0, 0], np.eye(2))),
            "features: got 1 and 2",
        ),
        (lambda: metrics.inception_score(np.zeros((4, 3)), 5), "num_splits: got 5"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_splits_that_do_not_divide_begin_where_torch_fidelity_has_them():
    logits_BC = np.random.default_rng(0).normal(size=(23, 4)) * 3
    parts = [logits_BC[i * 23 // 5 : (i + 1) * 23 // 5] for i in range(5)]
    scores = [metrics.inception_score(part_BC, 1)[0] for part_BC in parts]
    wanted = np.mean(scores), np.std(scores)
    np.testing.assert_allclose(metrics.inception_score(logits_BC, 5), wanted, rtol=1e-12)


def test_features_in_parts_have_the_statistics_of_all(golden):
    running = metrics.RunningStatistics()
    for part_BF in np.array_split(golden["A"] + 1e4, [1, 100, 350]):  # far from zero, as sums lose
        running.add(part_BF)
    want = metrics.feature_statistics(golden["A"].astype(np.float32) + np.float32(1e4))
    got = running.statistics()
    np.testing.assert_allclose(got.mean_F, want.mean_F, rtol=1e-12)
    np.testing.assert_allclose(got.covariance_FF, want.covariance_FF, atol=1e-9)
    assert got.num_images == 400


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "0 images"),
        ([np.ones((1, 3))], "1 images"),
        ([np.full((2, 3), np.nan)], "some"),
    ],
)
def test_too_few_features_and_no_numbers_have_no_statistics(parts, words):
    running = metrics.RunningStatistics()
    for part_BF in parts:
        running.add(part_BF)
    with pytest.raises(ValueError, match=f"^features: got {words}"):
        running.statistics()


def test_statistics_are_read_back_as_written(golden, tmp_path):
    statistics = metrics.feature_statistics(golden["A"])
    metrics.save_statistics(tmp_path / "a.npz", statistics)
    back = metrics.load_statistics(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.mean_F, statistics.mean_F)
    np.testing.assert_array_equal(back.covariance_FF, statistics.covariance_FF)
    assert back.num_images == 400
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_a_reference_of_others_has_no_number_of_images(tmp_path):
    np.savez(tmp_path / "adm.npz", mu=np.zeros(3, np.float32), sigma=np.eye(3), mu_s=np.zeros(2))
    assert metrics.load_statistics(tmp_path / "adm.npz").num_images == 0
