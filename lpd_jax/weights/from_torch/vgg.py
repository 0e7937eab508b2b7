"""LPIPS out of two public files: torchvision's VGG-16 and the channel weights of LPIPS."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from lpd_jax.models.vgg import BLOCKS
from lpd_jax.weights.from_torch.conversion import check_weights
from lpd_jax.weights.from_torch.state_dict_shapes import Weight

CLASSIFIER = "classifier."  # VGG's dense layers, which LPIPS does not look at


def vgg_weights() -> list[Weight]:
    """Torchvision's names count convolutions, ReLUs and maxima of the list `features`."""
    weights, index, inputs = [], 0, 3
    for i, block in enumerate(BLOCKS):
        for j, channels in enumerate(block):
            name, path = f"features.{index}", f"conv_{i + 1}_{j + 1}"
            weights += [
                Weight(f"{name}.weight", (channels, inputs, 3, 3), f"{path}/kernel"),
                Weight(f"{name}.bias", (channels,), f"{path}/bias"),
            ]
            index, inputs = index + 2, channels
        index += 1
    return weights


def channel_weights() -> list[Weight]:
    """One 1x1 convolution to one channel, without bias, for each tap."""
    return [
        Weight(f"lin{i}.model.1.weight", (1, block[-1], 1, 1), f"tap_{i}")
        for i, block in enumerate(BLOCKS)
    ]


def vgg_from_torch(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Torchvision's VGG-16 as nested float32 parameters of `VGG16`.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    arrays = {
        name: np.asarray(value)
        for name, value in state_dict.items()
        if not name.startswith(CLASSIFIER)
    }
    check_weights(arrays, vgg_weights())
    flat = {}
    for weight in vgg_weights():
        value = arrays[weight.name]
        if weight.path.endswith("kernel"):
            value = np.moveaxis(value, (0, 1), (-1, -2))
        flat[weight.path] = np.array(value, np.float32, order="C")
    return unflatten_dict(flat, sep="/")


def channel_weights_from_torch(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """LPIPS's own file as {"tap_0": float32 `[64]`, ...}.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    arrays = {name: np.asarray(value) for name, value in state_dict.items()}
    check_weights(arrays, channel_weights())
    return {
        weight.path: np.array(arrays[weight.name], np.float32).reshape(-1)
        for weight in channel_weights()
    }
