"""Damage is where it should be, as much as asked for, and taken from the right class."""

import numpy as np
import pytest

from lpd_jax.studies import corruptions

LABELS = np.array([0, 1, 0, 1, 0, 2])


def flat_images():
    """Image i is all i, so that a pixel tells whose it is."""
    return np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None], (6, 8, 8, 3))


def test_swapped_patches_come_from_the_same_class_and_lie_on_shifted_grids():
    swapped = corruptions.swap_patches(flat_images(), LABELS, 4, 0.5, seed=1)[..., 0]
    assert (LABELS[swapped] == LABELS[:, None, None]).all()
    foreign = swapped != flat_images()[..., 0]
    assert 0.2 < foreign[:5].mean() < 0.8
    # Seams of one picture are a multiple of the patch apart; between pictures they are not.
    columns = [np.flatnonzero((x[:, 1:] != x[:, :-1]).any(axis=0)) for x in foreign[:5]]
    assert all((np.diff(x) % 4 == 0).all() for x in columns)
    assert len({int(x[0]) % 4 for x in columns if len(x)}) > 1


def test_fraction_zero_changes_nothing_and_one_changes_all_that_have_a_partner():
    images = flat_images()
    np.testing.assert_array_equal(corruptions.swap_patches(images, LABELS, 2, 0.0), images)
    changed = (corruptions.swap_patches(images, LABELS, 2, 1.0) != images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, [True, True, True, True, True, False])


def test_blur_keeps_the_mean_and_noise_has_the_asked_deviation():
    images = np.random.default_rng(0).integers(96, 160, (2, 32, 32, 3)).astype(np.uint8)
    blurred = corruptions.blur(images, 2.0)
    assert abs(blurred.mean() - images.mean()) < 1 and blurred.std() < images.std() / 3
    noise = corruptions.add_noise(images, 8.0).astype(float) - images
    assert noise.std() == pytest.approx(8.0, rel=0.05)


@pytest.mark.parametrize(
    ("patch", "fraction", "message"), [(3, 0.5, "patch: got 3"), (4, 1.5, "fraction: got 1.5")]
)
def test_bad_input_is_one_clear_line(patch, fraction, message):
    with pytest.raises(ValueError, match=message):
        corruptions.swap_patches(flat_images(), LABELS, patch, fraction)
