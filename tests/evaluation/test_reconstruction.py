"""What a reconstruction report says, against the same counted plainly."""

import dataclasses
import math

import numpy as np
import pytest

from lpd_jax.data.batches import ArraySource
from lpd_jax.evaluation import reconstruction
from lpd_jax.evaluation.metrics import feature_statistics, frechet_distance
from lpd_jax.evaluation.reconstruction import (
    measure_reconstruction,
    psnr,
    reconstruction_picture,
    ssim,
)
from lpd_jax.models.family import tokenizer_of
from lpd_jax.weights.loading import Weights
from tests import tiny

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
IMAGES = np.random.default_rng(0).integers(256, size=(7, 8, 8, 3)).astype(np.uint8)


class Means:
    """Mean colours in place of a network's features."""

    digest, num_features = "means", 3

    def features(self, images_BHWC):
        return images_BHWC.mean((1, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def rebuilt():
    return np.asarray(tokenizer_of(tiny.VQ).reconstruct(TOKENIZER.params, IMAGES))


def plain_ssim(x, y):
    """Window by window, as its paper defines it."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(x.shape[0] - 6):
        for left in range(x.shape[1] - 6):
            a, b = (z[top : top + 7, left : left + 7].astype(float).ravel() for z in (x, y))
            (va, cov), (_, vb) = np.cov(a, b)
            ma, mb = a.mean(), b.mean()
            above = (2 * ma * mb + c1) * (2 * cov + c2)
            values.append(above / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_is_that_of_its_windows():
    rng = np.random.default_rng(1)
    x = rng.integers(256, size=(2, 9, 12, 3)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 40, x.shape), 0, 255).astype(np.uint8)
    want = [np.mean([plain_ssim(x[i, ..., c], y[i, ..., c]) for c in range(3)]) for i in range(2)]
    np.testing.assert_allclose(ssim(x, y), want, rtol=1e-4)
    np.testing.assert_allclose(ssim(x, x), 1, rtol=1e-5)


def test_psnr_is_of_8_bit_pixels_and_finite():
    black = np.zeros((1, 4, 4, 3), np.uint8)
    grey = black + np.uint8(51)  # a fifth of the range
    np.testing.assert_allclose(psnr(black, grey), 20 * math.log10(5), rtol=1e-5)
    np.testing.assert_allclose(psnr(black, black), 10 * math.log10(255**2 * 12), rtol=1e-5)


def test_a_report_is_of_every_picture_whatever_the_batch(rebuilt):
    source = ArraySource({"image": IMAGES})
    tokens = np.asarray(tokenizer_of(tiny.VQ).encode(TOKENIZER.params, IMAGES))
    features = [feature_statistics(Means().features(x)) for x in (rebuilt, IMAGES)]
    for batch_size in (3, 16):
        report = measure_reconstruction(
            TOKENIZER,
            source,
            batch_size=batch_size,
            network=Means(),
            network_name="mean colours",
            distance=lambda x, y: abs(x - y).mean((1, 2, 3)),
        )
        np.testing.assert_allclose(report.psnr, np.mean(psnr(IMAGES, rebuilt)), rtol=1e-5)
        np.testing.assert_allclose(report.ssim, np.mean(ssim(IMAGES, rebuilt)), rtol=1e-3)
        np.testing.assert_allclose(report.rfd, frechet_distance(*features), rtol=1e-4)
        mean = np.abs(IMAGES.astype(int) - rebuilt).mean() / 127.5
        np.testing.assert_allclose(report.perceptual, mean, rtol=1e-4)
        counts = np.bincount(tokens.ravel(), minlength=tiny.VQ.codebook_size)
        shares = counts[counts > 0] / counts.sum()
        assert report.dead_codes == (counts == 0).sum()
        assert report.codebook_usage == pytest.approx((counts > 0).mean())
        assert report.perplexity == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), 1e-4)
    assert "mean colours" in "\n".join(report.lines())
    nameless = dataclasses.replace(report, rfd_features="").lines()
    assert f"rFD             {report.rfd:.3f}" in nameless
    fewer = measure_reconstruction(TOKENIZER, source, num_images=3, batch_size=3)
    assert fewer.num_images == 3 and fewer.rfd is None
    # Evenly among all: where they are sorted by class the first ones are of one class.
    np.testing.assert_allclose(fewer.psnr, np.mean(psnr(IMAGES, rebuilt)[::3]), rtol=1e-5)
    assert len(dataclasses.asdict(fewer)) == 9 and len(fewer.lines()) == 4


@pytest.mark.parametrize("count", [1, 8])
def test_pictures_that_are_not_there_are_refused(count):
    with pytest.raises(ValueError, match=f"^num_images: got {count}, allowed are 2 to the 7"):
        measure_reconstruction(TOKENIZER, ArraySource({"image": IMAGES}), num_images=count)


def test_one_picture_is_too_few():
    with pytest.raises(ValueError, match="^pictures: got 1, allowed are 2 or more"):
        measure_reconstruction(TOKENIZER, ArraySource({"image": IMAGES[:1]}))


def test_pictures_stand_above_their_reconstructions_and_errors(rebuilt):
    picture = reconstruction_picture(TOKENIZER, IMAGES[:3], enlarge=2)
    assert picture.shape == (3 * 18 + 2, 3 * 18 + 2, 3)
    for row, image in enumerate((IMAGES[1], rebuilt[1])):
        cell = picture[2 + 18 * row : 18 + 18 * row, 20:36]
        np.testing.assert_array_equal(cell[::2, ::2], image)
        np.testing.assert_array_equal(cell[1::2, ::2], image)
    error = np.abs(IMAGES[1].astype(int) - rebuilt[1]) * reconstruction.ERROR_GAIN
    np.testing.assert_array_equal(picture[38:54:2, 20:36:2], np.minimum(error, 255))
