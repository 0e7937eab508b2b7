"""A small classifier of `moving_avatars` whose features judge generated clips.

The classifier of pictures looks at every second frame, and is not trained any further; of all
frames small copies are kept. A network of time puts both together. As in `avatar_classifier` the
class counts least while it is trained: its features must say which frames do not follow the one
before (a clip that is frozen, shuffled, or goes on as another), which cells come from another clip
of the class, and what is where when. So they see the look of the frames and the motion. Blurred
clips, and those that play at half the rate, are never shown: they are left to test the distance.

Letters: B clips, T frames, S every second of them, H height, W width, C channels, F features.
"""

import dataclasses
import os
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax import bundled
from lpd_jax.data.avatar_motions import MOTIONS
from lpd_jax.evaluation.avatar_classifier import (
    FEATURE_DIM,
    AvatarFeatures,
    Classifier,
    read_classifier,
    read_facts,
)
from lpd_jax.evaluation.gaussian import Statistics
from lpd_jax.images import to_model_range
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.weights.parameters import check_same_shapes, shapes_of

BUNDLED_FILE = bundled.FOLDER / "classifier" / "clips.safetensors"
COMMAND = "launch/train_classifier.py --data=moving_avatars"
MOST_FRAMES = 64  # of a file that says how long its clips are
BATCH_SIZE = 50
SMALL_SIZE = 16  # pixels of the copies that the network of time sees of every frame
STRIDE = 2  # frames from one that is looked at to the next


class Seen(NamedTuple):
    """What the network of time is given of clips."""

    small_BTHWC: Any  # uint8, 16x16 pixels
    look_BSF: Any  # features of the classifier of pictures


class ClipFeatures(nn.Module):
    """Frames and their changes, then neighbours in time, then one linear map to the features."""

    frame_width: int = 96
    time_width: int = 128
    feature_dim: int = FEATURE_DIM

    @nn.compact
    def __call__(self, small_BTHWC: jax.Array, look_BSF: jax.Array) -> jax.Array:
        """Small frames in [-1, 1] and looks -> features `[B, F]`, each of norm sqrt(F)."""
        small_BTP = small_BTHWC.reshape(*small_BTHWC.shape[:2], -1)
        before_BTP = jnp.concatenate([small_BTP[:, :1], small_BTP[:, :-1]], axis=1)
        x_BTP = jnp.concatenate([small_BTP, small_BTP - before_BTP], axis=-1)
        x_BTC = nn.relu(nn.LayerNorm()(nn.Dense(self.frame_width, use_bias=False)(x_BTP)))
        x_BSC = jnp.concatenate([beside_neighbours(x_BTC), look_BSF], axis=-1)
        x_BSC = nn.relu(nn.LayerNorm()(nn.Dense(self.time_width, use_bias=False)(x_BSC)))
        x_BSC = nn.Dense(self.time_width, use_bias=False)(beside_neighbours(x_BSC))
        x_BSC = nn.relu(nn.LayerNorm()(x_BSC))
        x_BF = nn.Dense(self.feature_dim)(x_BSC.reshape(len(x_BSC), -1))
        return nn.LayerNorm(use_bias=False, use_scale=False)(x_BF)


def beside_neighbours(x_BTC: jax.Array) -> jax.Array:
    """Every second frame with the one before and the one after in its channels; none is zero."""
    padded = jnp.pad(x_BTC, ((0, 0), (1, 1), (0, 0)))
    num_frames = x_BTC.shape[1]
    return jnp.concatenate([padded[:, i : i + num_frames : STRIDE] for i in range(3)], axis=-1)


@jax.jit
def see(look_params: Any, clips_BTHWC: jax.Array) -> Seen:
    """Small copies and looks of clips uint8 `[B, T, H, W, 3]`."""
    B, T, H, W, C = clips_BTHWC.shape
    blocks = clips_BTHWC.reshape(B, T, SMALL_SIZE, H // SMALL_SIZE, SMALL_SIZE, -1, C)
    small_BTHWC = jnp.rint(blocks.astype(jnp.float32).mean(axis=(3, 5))).astype(jnp.uint8)
    looked_at = clips_BTHWC[:, ::STRIDE]
    frames_NHWC = to_model_range(looked_at.reshape(-1, H, W, C))
    with jax.default_matmul_precision("float32"):  # distances of all devices compare
        look_NF = AvatarFeatures().apply({"params": look_params}, frames_NHWC)
    assert isinstance(look_NF, jax.Array)  # apply() may also give a pair, with mutable state
    return Seen(small_BTHWC, look_NF.reshape(*looked_at.shape[:2], -1))


def features_of(network_params: Any, seen: Seen) -> jax.Array:
    """Features `[B, F]` of what was seen of clips."""
    small_BTHWC = to_model_range(seen.small_BTHWC)
    with jax.default_matmul_precision("float32"):
        features_BF = ClipFeatures().apply({"params": network_params}, small_BTHWC, seen.look_BSF)
    assert isinstance(features_BF, jax.Array)
    return features_BF


@dataclasses.dataclass(frozen=True)
class ClipClassifier(Classifier):
    """Trained weights, what is known about them, and what they make of the training clips.

    `params` has "look", the classifier of pictures, "network", "class_head", "order_head", and
    "reference", a mean and a covariance.
    """

    num_frames: int
    motion_accuracy: float  # of validation clips, as `validation_accuracy`
    num_reference: int  # clips of the reference
    order_accuracy: float  # of steps from frame to frame, half of whole and half of broken clips

    noun = "clips"
    batch_size = BATCH_SIZE
    stored_exactly = ("reference/",)

    @property
    def reference(self) -> Statistics:
        """Features of the training clips: distances are to them."""
        reference = self.params["reference"]
        mean_F, covariance_FF = (
            np.asarray(reference[name], np.float64) for name in ("mean", "covariance")
        )
        return Statistics(mean_F, covariance_FF, self.num_reference)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.num_frames, *super().shape

    def look(self, images_BHWC: np.ndarray) -> jax.Array:
        seen = see(self.params["look"], images_BHWC)
        return _features(self.params["network"], seen)

    def motion_agreement(self, features_BF: np.ndarray, labels_B: np.ndarray) -> float:
        """Share of clips that move as their label says, whichever face they show."""
        logits_BC = self.logits(features_BF)
        by_motion = logits_BC.reshape(len(logits_BC), -1, len(MOTIONS))
        motion_B = np.logaddexp.reduce(by_motion, axis=1).argmax(axis=1)
        return float((motion_B == np.asarray(labels_B) % len(MOTIONS)).mean())

    def broken_steps(self, features_BF: np.ndarray) -> np.ndarray:
        """Which frames, from the second on, do not follow the one before: bool `[B, T - 1]`."""
        head = self.params["order_head"]
        return features_BF @ np.asarray(head["kernel"]) + np.asarray(head["bias"])[None] > 0


_features = jax.jit(features_of)


def leaf_shapes(shape: tuple[int, ...], num_classes: int) -> dict[str, tuple[int, ...]]:
    """Path -> shape of each leaf of the parameters of a classifier of clips `[T, H, W, 3]`."""
    num_frames, side = shape[:2]
    images = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    look = jax.eval_shape(AvatarFeatures().init, jax.random.key(0), images)["params"]
    network = jax.eval_shape(ClipFeatures().init, jax.random.key(0), *seen_shapes(num_frames))
    shapes = shapes_of({"look": look, "network": network["params"]})
    for name, size in (("class_head", num_classes), ("order_head", shape[0] - 1)):
        shapes |= {f"{name}/kernel": (FEATURE_DIM, size), f"{name}/bias": (size,)}
    square = (FEATURE_DIM, FEATURE_DIM)
    return shapes | {"reference/mean": square[:1], "reference/covariance": square}


def seen_shapes(num_frames: int) -> Seen:
    """Of one clip, as the network is given it."""
    small = (1, num_frames, SMALL_SIZE, SMALL_SIZE, 3)
    look = (1, len(range(0, num_frames, STRIDE)), FEATURE_DIM)
    return Seen(*(jax.ShapeDtypeStruct(shape, np.float32) for shape in (small, look)))


def build_clip_classifier(params: Any, about: dict[str, Any]) -> ClipClassifier:
    """As `build_classifier`."""
    facts = read_facts(about)
    facts["num_frames"] = check_whole("num_frames", about["num_frames"], 2, MOST_FRAMES)
    facts["num_reference"] = check_whole("num_reference", about["num_reference"], 2)
    facts |= {name: about[name] for name in ("motion_accuracy", "order_accuracy")}
    side = facts["image_size"]
    if side % SMALL_SIZE:
        raise ValueError(f"image_size: got {side}, allowed are multiples of {SMALL_SIZE}")
    shape = facts["num_frames"], side, side, 3
    wanted = leaf_shapes(shape, len(facts["class_names"]))
    check_same_shapes(shapes_of(params), wanted, "what it holds")
    return ClipClassifier(params=params, **facts)


def load_clip_classifier(path: str | os.PathLike[str] = BUNDLED_FILE) -> ClipClassifier:
    """Reads what `save_classifier` wrote of a classifier of clips.

    Raises:
        FileNotFoundError: no such file.
        UserError: a file that is damaged, or was not written by `save_classifier`.
    """
    return read_classifier(path, COMMAND, build_clip_classifier)
