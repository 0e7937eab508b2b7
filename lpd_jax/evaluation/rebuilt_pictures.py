"""What a tokenizer makes of pictures, as sets to judge: reconstructions, and decoded token caches.

Letters: B pictures, N tokens of each, V codes.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.data.token_cache import TokenSource
from lpd_jax.evaluation.clip_sets import CLIPS_AT_ONCE
from lpd_jax.evaluation.picture_sets import PICTURES_AT_ONCE, PictureSet, parts_of
from lpd_jax.evaluation.reconstruction import Distance, Rebuilder
from lpd_jax.generation.batches import pad_rows
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.pixels import decode_images
from lpd_jax.models.tokenizer_loss import summarize_codes
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest

RECONSTRUCTION = "reconstruction"  # suite of what compares each picture with its own original
MEANS = ("psnr", "ssim", "perceptual")


class RebuiltPictures(PictureSet):
    """Pictures encoded and decoded, with PSNR, SSIM and tokens of each."""

    def __init__(
        self,
        tokenizer: Weights,
        name: str,
        originals: PictureSet,
        distance: Distance | None = None,
        distance_name: str = "",
    ):
        """Args:
        tokenizer: config and parameters.
        name: what the user calls it.
        originals: of a size that is whole tokens.
        distance: how far apart two pictures look; see `measure_reconstruction`.
        distance_name: what a record calls it.
        """
        self.tokenizer, self.name, self.originals = tokenizer, name, originals
        self.distance_name = distance_name
        self.count, self.size = originals.count, originals.size
        self.labels, self.class_names = originals.labels, originals.class_names
        grid = tokenizer_of(tokenizer.config).grid_of(self.size, "pictures")
        self.extras = {"psnr": 1, "ssim": 1, "tokens": math.prod(grid)}
        if distance is not None:
            self.extras["perceptual"] = 1
        self.rebuild = Rebuilder(tokenizer, distance, at_once_of(self.size))

    def settings(self) -> dict[str, Any]:
        said = {
            "tokenizer": self.name,
            "weights": {"tokenizer": weights_digest(self.tokenizer.params, self.tokenizer.config)},
            "count": self.count,
            "size": list(self.size),
            "originals": self.originals.settings(),
        }
        return said | ({"perceptual": self.distance_name} if self.distance_name else {})

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        for images_BHWC, _ in self.measured(rows):
            yield images_BHWC

    def measured(self, rows: range) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        for images_BHWC in self.originals.batches(rows):
            yield from self.rebuilt(images_BHWC)

    def rebuilt(self, all_BHWC: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        for start in range(0, len(all_BHWC), self.rebuild.batch_size):
            images_BHWC = all_BHWC[start : start + self.rebuild.batch_size]
            rebuilt_BHWC, tokens, numbers = self.rebuild(images_BHWC)
            extras = {name: value_B[:, None] for name, value_B in numbers.items()}
            yield rebuilt_BHWC, extras | {"tokens": tokens.reshape(len(tokens), -1)}

    def summarize(self, parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """Means over pictures, and the codes in use."""
        sums = dict.fromkeys([name for name in MEANS if name in self.extras], 0.0)
        counts_V = np.zeros(self.tokenizer.config.codebook_size)
        for part in parts:
            for name in sums:
                sums[name] += float(part[name].astype(np.float64).sum())
            tokens = part["tokens"].astype(np.int64).ravel()  # exact: codes are below 2^24
            counts_V += np.bincount(tokens, minlength=counts_V.size)
        codes = summarize_codes({"code_shares": counts_V / counts_V.sum()})
        means = {name: total / self.count for name, total in sums.items()}
        return {RECONSTRUCTION: means | codes}


def at_once_of(size: tuple[int, ...]) -> int:
    """How many pictures, or clips, the tokenizer sees at a time."""
    return PICTURES_AT_ONCE if len(size) == 2 else CLIPS_AT_ONCE


class TokenPictures(PictureSet):
    """The pictures that a token cache's tokens stand for, decoded."""

    def __init__(self, cache: TokenSource, tokenizer: Weights, name: str):
        """Args:
        cache: whose first view of each image is decoded.
        tokenizer: that made it.
        name: what the user calls the cache.

        Raises:
            UserError: a tokenizer that did not make these tokens.
        """
        self.cache, self.tokenizer, self.name = cache, tokenizer, name
        made, digest = cache.settings, weights_digest(tokenizer.params, tokenizer.config)
        if made.tokenizer != digest:
            raise UserError(
                f"tokenizer: got one of digest {digest}, allowed is {made.tokenizer}, which made "
                f"the token cache of {made.dataset}"
            )
        self.count, self.class_names = len(cache), tuple(made.class_names)
        self.size = tokenizer_of(tokenizer.config).size_of(tuple(made.grid_size))
        decode = functools.partial(decode_images, grid_size=tuple(made.grid_size))
        self.decode = jax.jit(decode, static_argnums=0)

    def settings(self) -> dict[str, Any]:
        return {
            "pictures": f"decoded tokens of {self.cache.settings.dataset}",
            "tokens": self.name,
            "tokenizer_weights": self.cache.settings.tokenizer,
            "count": self.count,
            "size": list(self.size),
        }

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        at_once = at_once_of(self.size)
        for part in parts_of(rows, at_once):
            tokens_BN = np.stack([self.cache.view(row, 0)["tokens"] for row in part])
            padded_BN = jnp.asarray(pad_rows(tokens_BN, at_once - len(part)))
            images_BHWC = self.decode(self.tokenizer.config, self.tokenizer.params, padded_BN)
            yield np.asarray(images_BHWC)[: len(part)]
