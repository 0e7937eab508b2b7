"""Features of the network that published Fréchet video distances (FVD) are made with.

The weights are not shipped: `load_i3d` reads `i3d_pretrained_400.pt`, which VideoGPT, TATS and
common_metrics_on_video_quality use, without torch. They are tested with seeded weights.

Letters: B clips, T frames, H height, W width, F features.
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
from lpd_jax.evaluation.i3d_network import (
    FEWEST_FRAMES,
    FRAME_SIZE,
    NUM_CLASSES,
    WAYS,
    WHOLE,
    InceptionI3D,
    resize_frames,
)
from lpd_jax.runtime.arguments import as_array, check_choice, check_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights import public_files
from lpd_jax.weights.from_torch.networks import network_from_torch, official_weight, read_network
from lpd_jax.weights.parameters import shapes_of, weights_digest
from lpd_jax.weights.public_files import local_public_file

BATCH_SIZE = 4  # clips at a time; the last batch is padded, so there is one compilation
MOST_CLIPS = 1024  # at a time
NUM_FRAMES = 16  # of a clip, the first: as all published numbers have it, of 17 frames too
CLIPS = f"is uint8 [clips, frames, height, width, 3] of {FEWEST_FRAMES} frames and more"
RESIZED = "bilinear with half-pixel centres, no antialiasing"


@dataclasses.dataclass(frozen=True)
class I3D:
    """The network's weights, and how clips come to it.

    Attributes:
        params: of `InceptionI3D`.
        batch_size: clips at a time.
        num_frames: of each clip, from its first on; a clip of fewer is seen whole.
        resize: how frames come to 224x224 pixels; see `resize_frames`.
    """

    params: dict[str, Any]
    batch_size: int = BATCH_SIZE
    num_frames: int = NUM_FRAMES
    resize: str = WHOLE

    num_features = NUM_CLASSES  # no field: the network has as many

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, 1, MOST_CLIPS)
        check_whole("num_frames", self.num_frames, FEWEST_FRAMES)
        check_choice("resize", self.resize, WAYS)
        if not isinstance(self.params, Mapping):
            raise UserError(f"params: got {shown(self.params)}, allowed is what load_i3d reads")

    @functools.cached_property
    def digest(self) -> str:
        """Names these weights: results computed with other features do not compare."""
        return weights_digest(self.params)

    def protocol(self) -> dict[str, str]:
        """How clips come to the network, as a record says it."""
        return {
            "frames": f"the first {self.num_frames}",
            "resized": f"{self.resize} frame to {FRAME_SIZE}x{FRAME_SIZE}, {RESIZED}",
            "features": f"{NUM_CLASSES} logits, mean over time",
        }

    def features(self, clips_BTHWC: np.ndarray) -> np.ndarray:
        """uint8 `[B, T, H, W, 3]`, T >= 10, any height and width -> float32 `[B, 400]`.

        Raises:
            UserError: clips of another type or shape, or too short.
        """
        clips_BTHWC = check_clips(clips_BTHWC)[:, : self.num_frames]
        features_BF: np.ndarray = in_batches(
            lambda batch_BTHWC: _features(self.params, batch_BTHWC, self.resize),
            clips_BTHWC,
            self.batch_size,
            np.zeros((0, NUM_CLASSES), np.float32),
        )
        return features_BF


@functools.partial(jax.jit, static_argnums=2)
def _features(params: Any, clips_BTHWC: jax.Array, way: str) -> jax.Array:
    outputs = InceptionI3D().apply({"params": params}, resize_frames(clips_BTHWC, way))
    assert isinstance(outputs, dict)  # apply() may also give a pair, with mutable state
    return outputs["logits"]


def check_clips(clips: Any) -> np.ndarray:
    """Raises UserError unless uint8 `[B, T, H, W, 3]` of enough frames."""
    clips_BTHWC = as_array("clips", clips, CLIPS)
    shape = clips_BTHWC.shape
    good = len(shape) == 5 and shape[4] == 3 and 0 not in shape[1:]
    if clips_BTHWC.dtype != np.uint8 or not good or shape[1] < FEWEST_FRAMES:
        raise UserError(f"clips: got {clips_BTHWC.dtype} {shape}, allowed {CLIPS}")
    return clips_BTHWC


@functools.cache  # tracing takes a second
def leaf_shapes() -> Mapping[str, tuple[int, ...]]:
    """Path -> shape of each leaf of our parameters."""
    shape = (1, FEWEST_FRAMES, FRAME_SIZE, FRAME_SIZE, 3)
    clips = jax.ShapeDtypeStruct(shape, jnp.float32)
    return shapes_of(jax.eval_shape(InceptionI3D().init, jax.random.key(0), clips)["params"])


def i3d_from_torch(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the official state dict to nested float32 parameters.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    weights = [official_weight(path, shape) for path, shape in leaf_shapes().items()]
    return network_from_torch(state_dict, weights)


find_i3d = functools.partial(local_public_file, public_files.I3D)  # (where, field)


def load_i3d(path: str | PathLike[str], batch_size: int = BATCH_SIZE) -> I3D:
    """Reads the official weights, a .pt or .safetensors file.

    Raises:
        FileNotFoundError: no such file.
        UserError: a damaged file, or weights of another network, each named.
    """
    check_whole("batch_size", batch_size, 1, MOST_CLIPS)
    return I3D(read_network(path, i3d_from_torch), batch_size)
