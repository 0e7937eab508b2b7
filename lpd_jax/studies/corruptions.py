"""Known ways to break pictures: what a distance must react to before it may judge a model."""

import numpy as np
import scipy.ndimage

from lpd_jax.runtime.errors import UserError


def swap_patches(
    images_BHWC: np.ndarray, labels_B: np.ndarray, patch: int, fraction: float, seed: int = 0
) -> np.ndarray:
    """Replaces patches by those at the same place of another picture of the same class.

    Local statistics, colours per place and the class stay right; only the parts no longer belong
    together, which is what drawing many tokens at once without regard to each other does. The
    grid of patches is shifted at random in each picture: no seam is where a network expects it.

    Args:
        images_BHWC: uint8 `[B, H, W, C]`; H and W divisible by `patch`.
        labels_B: class of each picture; one that is alone in its class stays whole.
        patch: side in pixels.
        fraction: how many of the patches, 0 to 1.
        seed: of partners and places.

    Raises:
        UserError: a patch that does not divide the picture, a fraction outside [0, 1].
    """
    _, height, width, _ = images_BHWC.shape
    if patch < 1 or height % patch or width % patch:
        raise UserError(f"patch: got {patch}, allowed are divisors of {height} and {width}")
    if not 0 <= fraction <= 1:
        raise UserError(f"fraction: got {fraction}, allowed are numbers from 0 to 1")
    generator = np.random.default_rng(seed)
    partner_B = np.arange(len(images_BHWC))
    for label in np.unique(labels_B):
        rows = generator.permutation(np.flatnonzero(labels_B == label))
        partner_B[rows] = np.roll(rows, 1)  # a cycle: nobody is their own partner
    cells = generator.random((len(images_BHWC), height // patch + 1, width // patch + 1)) < fraction
    mask_BHW = cells.repeat(patch, axis=1).repeat(patch, axis=2)
    top_B, left_B = generator.integers(patch, size=(2, len(images_BHWC)))
    mask_BHW = mask_BHW[
        np.arange(len(images_BHWC))[:, None, None],
        (top_B[:, None] + np.arange(height)[None])[:, :, None],
        (left_B[:, None] + np.arange(width)[None])[:, None, :],
    ]
    return np.where(mask_BHW[..., None], images_BHWC[partner_B], images_BHWC)


def blur(images_BHWC: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels, per channel."""
    blurred = scipy.ndimage.gaussian_filter(images_BHWC.astype(np.float32), (0, sigma, sigma, 0))
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def add_noise(images_BHWC: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Independent Gaussian noise of `sigma` grey levels of 255."""
    noise = np.random.default_rng(seed).normal(scale=sigma, size=images_BHWC.shape)
    return np.clip(np.rint(images_BHWC + noise), 0, 255).astype(np.uint8)
