"""Images as tokens: encoded once by the tokenizer, kept in the run's folder."""

import hashlib
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
from tqdm import tqdm

from lpd_jax.models.generate import encode_images
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.replacing import replacing_file
from lpd_jax.training.weights import Weights

ENCODE_BATCH = 50


def cached_tokens(
    tokenizer: Weights,
    arrays: Mapping[str, np.ndarray],
    split: str,
    model: LPDConfig,
    workdir: pathlib.Path,
) -> dict[str, np.ndarray]:
    """Tokens int32 `[B, N]` and labels of a dataset; encoded now, or read from the run's folder.

    Raises:
        ValueError: the tokenizer's grid or codebook is not the transformer's.
    """
    images_BHWC = arrays["images"]
    factor = tokenizer.config.downsample_factor
    grid = (images_BHWC.shape[1] // factor, images_BHWC.shape[2] // factor)
    if grid != model.grid_size or tokenizer.config.codebook_size != model.codebook_size:
        raise ValueError(
            f"model.grid_size, model.codebook_size: got {model.grid_size}, {model.codebook_size}, "
            f"allowed is what the tokenizer makes: {grid}, {tokenizer.config.codebook_size}"
        )
    path = workdir / f"tokens_{split}_{digest(tokenizer, images_BHWC)}.npy"
    if path.is_file():
        tokens_BN = np.load(path)
    else:
        tokens_BN = encode_all(tokenizer, images_BHWC)
        workdir.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, tokens_BN)
    return {"tokens": tokens_BN, "labels": arrays["labels"]}


def encode_all(tokenizer: Weights, images_BHWC: np.ndarray) -> np.ndarray:
    """Tokens int32 `[B, N]` of a whole dataset, in batches of one size."""
    count = len(images_BHWC)
    tokens = []
    with tqdm(total=count, desc="encoding", unit="image", dynamic_ncols=True) as bar:
        for start in range(0, count, ENCODE_BATCH):
            # The last batch begins early enough to be full; what it repeats is cut off.
            first = max(0, min(start, count - ENCODE_BATCH))
            batch_BN = encode_images(*tokenizer, images_BHWC[first : first + ENCODE_BATCH])
            tokens.append(np.asarray(batch_BN)[start - first :])
            bar.update(len(tokens[-1]))
    return np.concatenate(tokens)


def digest(tokenizer: Weights, images_BHWC: np.ndarray) -> str:
    """Names what the tokens depend on: the tokenizer's config and weights, and the images."""
    hasher = hashlib.sha256(repr(tokenizer.config).encode())
    for leaf in jax.tree.leaves(tokenizer.params):
        hasher.update(np.ascontiguousarray(leaf).data)
    hasher.update(repr(images_BHWC.shape).encode())
    hasher.update(np.ascontiguousarray(images_BHWC).data)
    return hasher.hexdigest()[:16]
