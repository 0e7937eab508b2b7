"""A small classifier of the bundled avatars whose features judge generated pictures.

The styles are so easy that a network taught only to tell them apart never looks at a face. So the
feature vector has two more duties while it is trained: say which cells of the picture were taken
from another picture of the class (do the parts belong together?), and redraw the picture at 16x16
pixels (what is where?). The class counts least in the loss. Blurred and noisy pictures, and patches
of other sizes, are never shown: they are left to test the distance (`corruptions.py`).
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import flax.linen as nn
import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict

from lpd_jax import bundled
from lpd_jax.evaluation.feature_batches import in_batches
from lpd_jax.evaluation.metrics import as_features
from lpd_jax.images import to_model_range
from lpd_jax.runtime.arguments import as_array, as_path, check_text, check_whole
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.json_files import parse_json
from lpd_jax.weights.parameters import check_same_shapes, shapes_of, weights_digest
from lpd_jax.weights.weight_files import read_weights

BUNDLED_FILE = bundled.FOLDER / "classifier" / "classifier.safetensors"
FEATURE_DIM = 96
LARGEST_IMAGE = 1024  # pixels a side, of a file that says how large its pictures are
Kind = TypeVar("Kind", bound="Classifier")
BATCH_SIZE = 200  # of feature extraction; the last batch is padded, so there is one compilation


class AvatarFeatures(nn.Module):
    """Strided convolutions, then one linear map to the features."""

    widths: tuple[int, ...] = (24, 48, 96, 128)  # at 1/2, 1/4, 1/8 and 1/16 of the image
    feature_dim: int = FEATURE_DIM

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> jax.Array:
        """Images in [-1, 1] `[B, H, W, 3]` -> features `[B, F]`, each of norm sqrt(F).

        The norm is fixed so that no picture, however odd, can outweigh all others in a covariance.
        """
        x_BHWC = images_BHWC
        for width in self.widths:
            x_BHWC = nn.Conv(width, (3, 3), strides=2, use_bias=False)(x_BHWC)
            x_BHWC = nn.relu(nn.LayerNorm()(x_BHWC))
        x_BF = nn.Dense(self.feature_dim)(x_BHWC.reshape(len(x_BHWC), -1))
        return nn.LayerNorm(use_bias=False, use_scale=False)(x_BF)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Trained weights and what is known about them."""

    params: dict[str, Any]  # {"network": ..., "class_head": {"kernel", "bias"}}
    class_names: tuple[str, ...]
    image_size: int
    validation_accuracy: float
    settings: dict[str, Any]  # how it was trained

    num_features = FEATURE_DIM  # no field: all classifiers have as many
    noun = "images"
    batch_size = BATCH_SIZE
    stored_exactly: ClassVar[tuple[str, ...]] = ()  # beginnings of names that keep float32

    @functools.cached_property
    def digest(self) -> str:
        """Names these weights: results computed with other features do not compare."""
        return weights_digest(self.params)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture."""
        return self.image_size, self.image_size, 3

    def look(self, images_BHWC: np.ndarray) -> jax.Array:
        """Features of one batch."""
        return _features(self.params["network"], images_BHWC)

    def features(self, images_BHWC: np.ndarray) -> np.ndarray:
        """uint8 `[B, H, W, 3]` -> float32 `[B, F]`.

        Raises:
            UserError: pictures of another type or size.
        """
        wanted = f"uint8 [B, {', '.join(map(str, self.shape))}]"
        images_BHWC = as_array(self.noun, images_BHWC, f"is {wanted}")
        if images_BHWC.dtype != np.uint8 or images_BHWC.shape[1:] != self.shape:
            raise UserError(
                f"{self.noun}: got {images_BHWC.dtype} {images_BHWC.shape}, allowed is {wanted}"
            )
        features_BF: np.ndarray = in_batches(
            self.look, images_BHWC, self.batch_size, np.zeros((0, FEATURE_DIM), np.float32)
        )
        return features_BF

    def logits(self, features_BF: np.ndarray) -> np.ndarray:
        """Features `[B, F]` -> class logits `[B, C]`."""
        head = self.params["class_head"]
        features_BF = as_features(features_BF, FEATURE_DIM)
        return features_BF @ np.asarray(head["kernel"]) + np.asarray(head["bias"])[None]

    def probabilities(self, image_HWC: np.ndarray) -> np.ndarray:
        """What one picture is taken for, at once: uint8 `[H, W, 3]` -> float32 `[C]`."""
        features_BF = np.asarray(self.look(image_HWC[None]))
        logits_C = self.logits(features_BF)[0]
        shares_C = np.exp(logits_C - logits_C.max())
        return (shares_C / shares_C.sum()).astype(np.float32)

    def accuracy(self, features_BF: np.ndarray, labels_B: np.ndarray) -> float:
        """Share of pictures whose most likely class is their label."""
        logits_BC = self.logits(features_BF)
        labels_B = as_array("labels", labels_B, "are class numbers, one an image")
        if labels_B.shape != logits_BC.shape[:1] or labels_B.dtype.kind not in "iu":
            raise UserError(
                f"labels: got {shown(labels_B)}, allowed are class numbers, one for each of "
                f"{len(logits_BC)} images"
            )
        return float((logits_BC.argmax(axis=1) == labels_B).mean())


@jax.jit
def _features(params: Any, images_BHWC: jax.Array) -> jax.Array:
    # GPUs and TPUs would round the factors to 10 and 7 bits: distances of all devices compare.
    with jax.default_matmul_precision("float32"):
        features_BF = AvatarFeatures().apply({"params": params}, to_model_range(images_BHWC))
    assert isinstance(features_BF, jax.Array)  # apply() may also give a pair, with mutable state
    return features_BF


def save_classifier(path: str | os.PathLike[str], classifier: Classifier) -> None:
    """Writes one safetensors file (float16 weights, facts as metadata), whole or not at all."""
    path = as_path("path", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves = flatten_dict(classifier.params, sep="/")
    exact = classifier.stored_exactly
    tensors = {
        name: np.asarray(leaf, np.float32 if name.startswith(exact) else np.float16)
        for name, leaf in leaves.items()
    }
    about = {
        field.name: getattr(classifier, field.name)
        for field in dataclasses.fields(classifier)
        if field.name != "params"
    }
    with replacing_file(path, "the classifier") as temporary:
        safetensors.numpy.save_file(tensors, temporary, metadata={"about": json.dumps(about)})


def leaf_shapes(image_size: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Path -> shape of each leaf of a classifier's parameters."""
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), np.float32)
    network = jax.eval_shape(AvatarFeatures().init, jax.random.key(0), images)["params"]
    head = {"class_head/kernel": (FEATURE_DIM, num_classes), "class_head/bias": (num_classes,)}
    return shapes_of({"network": network}) | head


def load_classifier(path: str | os.PathLike[str] = BUNDLED_FILE) -> Classifier:
    """Reads what `save_classifier` wrote.

    Raises:
        FileNotFoundError: no such file.
        UserError: a file that is damaged or was not written by `save_classifier`.
    """
    return read_classifier(path, "launch/train_classifier.py", build_classifier)


def build_classifier(params: Any, about: dict[str, Any]) -> Classifier:
    """A classifier of what a file holds; ValueError, KeyError or TypeError if it holds another."""
    facts = read_facts(about)
    names, size = facts["class_names"], facts["image_size"]
    check_same_shapes(shapes_of(params), leaf_shapes(size, len(names)), "what it holds")
    return Classifier(params=params, **facts)


def read_facts(about: dict[str, Any]) -> dict[str, Any]:
    """The fields that all classifiers have, as their files have them."""
    return {
        "class_names": tuple(check_text("class_names", name) for name in about["class_names"]),
        "image_size": check_whole("image_size", about["image_size"], 1, LARGEST_IMAGE),
        "validation_accuracy": about["validation_accuracy"],
        "settings": about["settings"],
    }


def read_classifier(
    path: str | os.PathLike[str], command: str, build: Callable[[Any, dict[str, Any]], Kind]
) -> Kind:
    """What `build` makes of a file of `save_classifier`.

    Args:
        path: of the file.
        command: writes such files, for the reader of an error.
        build: weights and what is known about them -> the classifier.

    Raises:
        FileNotFoundError, UserError: as `load_classifier`.
    """
    path = as_path("classifier", path)
    if not path.is_file():
        raise FileNotFoundError(f"classifier: no file {path}; {command} writes it")
    try:
        params, notes = read_weights(path)
        return build(params, parse_json(notes["about"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"classifier: got {shown_path(path)}, which is no whole classifier file ({error}); "
            f"allowed is what {command} writes"
        ) from None
