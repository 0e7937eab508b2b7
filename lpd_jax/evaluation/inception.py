"""Features of the network that published Fréchet distances and inception scores are made with.

The weights are not shipped: `load_inception` reads the official file of torch-fidelity 0.4.0,
`weights-inception-2015-12-05-6726825d.pth`, without torch. They are tested with seeded weights.
"""

import dataclasses
import functools
from collections.abc import Mapping
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.evaluation.feature_batches import in_batches
from lpd_jax.evaluation.inception_network import (
    FEATURE_DIM,
    IMAGE_SIZE,
    TAPS,
    InceptionV3,
    resize,
)
from lpd_jax.evaluation.metrics import as_features
from lpd_jax.runtime.arguments import as_array, check_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights import public_files
from lpd_jax.weights.from_torch.networks import network_from_torch, official_weight, read_network
from lpd_jax.weights.parameters import shapes_of, weights_digest
from lpd_jax.weights.public_files import local_public_file

NUM_CLASSES = 1008
BATCH_SIZE = 32  # of feature extraction; the last batch is padded, so there is one compilation
MOST_IMAGES = 4096  # at a time


@dataclasses.dataclass(frozen=True)
class Inception:
    """The network's weights, with the methods that `Classifier` has for pictures and features."""

    params: dict[str, Any]  # of the network, and of the class head as "fc"
    batch_size: int = BATCH_SIZE  # pictures at a time; 4 take half the time each on a CPU

    num_features = FEATURE_DIM  # no field: the network has as many

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, 1, MOST_IMAGES)
        if not isinstance(self.params, Mapping):
            raise UserError(
                f"params: got {shown(self.params)}, allowed is what load_inception reads"
            )

    @functools.cached_property
    def digest(self) -> str:
        """Names these weights: results computed with other features do not compare."""
        return weights_digest(self.params)

    def features(self, images_BHWC: np.ndarray) -> np.ndarray:
        """uint8 `[B, H, W, 3]`, any height and width -> float32 `[B, 2048]`.

        Raises:
            UserError: pictures of another type or shape.
        """
        return self.taps(images_BHWC)[FEATURE_DIM]

    def taps(self, images_BHWC: np.ndarray) -> dict[int, np.ndarray]:
        """uint8 `[B, H, W, 3]` -> features of every depth: for each of TAPS, float32 `[B, tap]`.

        Raises:
            UserError: as `features` does.
        """
        images_BHWC = as_array("images", images_BHWC, "is uint8 [B, height, width, 3]")
        shape = images_BHWC.shape
        if images_BHWC.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape[1:]:
            raise UserError(
                f"images: got {images_BHWC.dtype} {shape}, allowed is uint8 [B, height, width, 3]"
            )
        none = {tap: np.zeros((0, tap), np.float32) for tap in TAPS}
        taps: dict[int, np.ndarray] = in_batches(
            lambda batch_BHWC: _taps(self.params, resize(batch_BHWC)),
            images_BHWC,
            self.batch_size,
            none,
        )
        return taps

    def logits(self, features_BF: np.ndarray) -> np.ndarray:
        """Features `[B, 2048]` -> class logits `[B, 1008]`, without the bias.

        The inception score is computed from these (torch-fidelity's "logits_unbiased").
        """
        features_BF = as_features(features_BF, FEATURE_DIM)
        return features_BF @ np.asarray(self.params["fc"]["kernel"])


@jax.jit
def _taps(params: Any, resized_BHWC: jax.Array) -> dict[int, jax.Array]:
    taps = InceptionV3().apply({"params": params}, resized_BHWC)
    assert isinstance(taps, dict)  # apply() may also give a pair, with mutable state
    return taps


@functools.cache  # tracing takes a second
def leaf_shapes() -> Mapping[str, tuple[int, ...]]:
    """Path -> shape of each leaf of our parameters."""
    images = jax.ShapeDtypeStruct((1, IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
    params = jax.eval_shape(InceptionV3().init, jax.random.key(0), images)["params"]
    head = {"fc/kernel": (FEATURE_DIM, NUM_CLASSES), "fc/bias": (NUM_CLASSES,)}
    return shapes_of(params) | head


def inception_from_torch(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the official state dict to nested float32 parameters.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    weights = [official_weight(path, shape) for path, shape in leaf_shapes().items()]
    return network_from_torch(state_dict, weights)


find_inception = functools.partial(local_public_file, public_files.INCEPTION)  # (where, field)


def load_inception(path: str | PathLike[str], batch_size: int = BATCH_SIZE) -> Inception:
    """Reads the official weights, a .pth or .safetensors file.

    Raises:
        FileNotFoundError: no such file.
        UserError: a damaged file, or weights of another network, each named.
    """
    check_whole("batch_size", batch_size, 1, MOST_IMAGES)
    return Inception(read_network(path, inception_from_torch), batch_size)
