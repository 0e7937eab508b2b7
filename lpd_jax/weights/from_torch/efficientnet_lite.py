"""EfficientNet-Lite0 out of the names of EfficientNet-PyTorch, its batch norms folded away.

A batch norm with fixed statistics is y = (x - mean) / sqrt(variance + epsilon) * weight + bias; the
convolution before it takes over the factor in its kernel and the rest in its bias.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from lpd_jax.models.efficientnet_lite import BLOCKS, FEATURE_DIM, NUM_CLASSES, STEM_CHANNELS
from lpd_jax.weights.from_torch.conversion import check_weights
from lpd_jax.weights.from_torch.state_dict_shapes import Weight

NORM_EPSILON = 1e-3
NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")
COUNTER = ".num_batches_tracked"  # a record of training


def convolutions() -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Our path -> official convolution, official batch norm after it, shape of the kernel there."""
    names: dict[str, tuple[str, str, tuple[int, ...]]] = {
        "stem": ("_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3))
    }
    inputs = STEM_CHANNELS
    for i, (window, _, expansion, channels) in enumerate(BLOCKS):
        ours, theirs, width = f"block_{i}", f"_blocks.{i}", inputs * expansion
        if expansion > 1:
            kernel = (width, inputs, 1, 1)
            names[f"{ours}/expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0", kernel)
        kernel = (width, 1, window, window)
        names[f"{ours}/depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1", kernel)
        kernel = (channels, width, 1, 1)
        names[f"{ours}/project"] = (f"{theirs}._project_conv", f"{theirs}._bn2", kernel)
        inputs = channels
    return names | {"head": ("_conv_head", "_bn1", (FEATURE_DIM, inputs, 1, 1))}


def official_weights() -> list[Weight]:
    """Every weight that an official state dict has, counters aside."""
    weights = [
        Weight("_fc.weight", (NUM_CLASSES, FEATURE_DIM), "classes/kernel"),
        Weight("_fc.bias", (NUM_CLASSES,), "classes/bias"),
    ]
    for path, (convolution, norm, kernel) in convolutions().items():
        weights.append(Weight(f"{convolution}.weight", kernel, f"{path}/kernel"))
        weights += [Weight(f"{norm}.{leaf}", kernel[:1], f"{path}/bias") for leaf in NORM_LEAVES]
    return weights


def efficientnet_lite_from_torch(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the official state dict to nested float32 parameters of `EfficientNetLite0`.

    Raises:
        UserError: missing, unexpected or misshapen weights, each named.
    """
    arrays = {
        name: np.asarray(value) for name, value in state_dict.items() if not name.endswith(COUNTER)
    }
    check_weights(arrays, official_weights())
    flat = {"classes/kernel": arrays["_fc.weight"].T, "classes/bias": arrays["_fc.bias"]}
    for path, (convolution, norm, _) in convolutions().items():
        weight_C, bias_C, mean_C, variance_C = (
            arrays[f"{norm}.{leaf}"].astype(np.float64) for leaf in NORM_LEAVES
        )
        scale_C = weight_C / np.sqrt(variance_C + NORM_EPSILON)
        kernel = np.moveaxis(arrays[f"{convolution}.weight"], (0, 1), (-1, -2))
        flat[f"{path}/kernel"] = kernel * scale_C
        flat[f"{path}/bias"] = bias_C - mean_C * scale_C
    flat = {path: np.array(value, np.float32, order="C") for path, value in flat.items()}
    return unflatten_dict(flat, sep="/")
