"""The video tokenizer of NBP (2502.07737): official names, and the sizes that shapes tell.

Encoder and decoder are flat lists of layers; what stands where tells the sizes. How often time is
halved, only the decoder tells: a layer that doubles it writes eight times the channels, not four.
"""

import re
from typing import Any

from lpd_jax.models.video_tokenizer import VideoConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.state_dict_shapes import (
    LEAVES,
    OfficialNames,
    Shapes,
    Tell,
    Weight,
    common_size,
    torch_shape,
)

PUBLISHED_LEVELS = {6: (8, 8, 8, 5, 5, 5)}  # numbers of a code -> FSQ's levels, no weight tells
UNIT_WIDTH = r"encoder_layers\.{}\.fn\.(?:3|5\.conv)\.\w+"
UNIT = {
    "norm1": "fn.0",
    "swish1": "fn.1",
    "conv1/conv": "fn.2.conv",
    "norm2": "fn.3",
    "swish2": "fn.4",
    "conv2/conv": "fn.5.conv",
    "skip/conv": "residual_fn.0.conv",
}


def video_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weight that one leaf of ours is."""
    match = re.fullmatch(r"(\w+)/layers_(\d+)/(?:(.+)/)?(\w+)", path)
    if match is None:
        raise KeyError(f"no official name for parameter {path!r}")
    part, number, module, leaf = match.groups()
    layer = f"{part}_layers.{number}"
    if module in UNIT:
        layer = f"{layer}.{UNIT[module]}"
    elif module:
        layer = f"{layer}.{module}"
    if leaf == "beta":
        return [Weight(f"{layer}.beta", (1, *shape, 1, 1, 1), path)]
    return [Weight(f"{layer}.{LEAVES[leaf]}", torch_shape(leaf, shape, rank=5), path)]


def draft_video(shapes: Shapes) -> VideoConfig:
    """Every size but FSQ's levels, which are the published ones.

    Raises UserError for layers in an order that no such tokenizer has.
    """
    runs = unit_runs(shapes)
    base = common_size(shapes, (r"encoder_layers\.0\.conv\.\w+", 0), (UNIT_WIDTH.format(1), 0))
    widths = [common_size(shapes, (UNIT_WIDTH.format(run[-1]), 0), default=base) for run in runs]
    if any(width % base for width in widths):
        raise UserError(
            f"encoder_layers: got widths {widths}, allowed are multiples of layer 0's {base}"
        )
    numbers = common_size(
        shapes,
        (rf"encoder_layers\.{runs[-1][-1] + 3}\.\w+", 0),
        (r"decoder_layers\.0\.conv\.weight", 1),
        default=6,
    )
    if numbers not in PUBLISHED_LEVELS:
        raise UserError(
            f"decoder_layers.0.conv.weight: got codes of {numbers} numbers, allowed are "
            f"{', '.join(map(str, PUBLISHED_LEVELS))}, whose levels are published"
        )
    blocks = len(runs[0])
    return VideoConfig(
        base_channels=base,
        channel_multipliers=tuple(width // base for width in widths),
        num_res_blocks=blocks,
        middle_blocks=max(0, len(runs[-1]) - blocks) if len(runs) > 1 else 0,
        time_strides=time_strides(shapes, len(runs) - 1),
        fsq_levels=PUBLISHED_LEVELS[numbers],
    )


def unit_runs(shapes: Shapes) -> list[list[int]]:
    """Numbers of the encoder's residual units, those of each resolution together."""
    pattern = r"encoder_layers\.(\d+)\.fn\..*"
    units = sorted({int(match[1]) for name in shapes if (match := re.fullmatch(pattern, name))})
    if not units:
        raise UserError("encoder_layers: got no residual units, allowed are those of NBP's encoder")
    runs: list[list[int]] = []
    for unit in units:
        if runs and runs[-1][-1] == unit - 1:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def time_strides(shapes: Shapes, halvings: int) -> tuple[int, ...]:
    """1 or 2 for each halving of the picture, by the channels of the layers that undo them."""
    pattern = r"decoder_layers\.(\d+)\.conv\.weight"
    layers = sorted(int(match[1]) for name in shapes if (match := re.fullmatch(pattern, name)))
    found = [shapes[f"decoder_layers.{layer}.conv.weight"] for layer in layers[1 : 1 + halvings]]
    strides = [2 if shape and shape[0] == 8 * shape[1] else 1 for shape in found[::-1]]
    return (*strides, *[1] * (halvings - len(strides)))


def complete_video(
    config: VideoConfig, shapes: Shapes, num_heads: int | None, grid_size: Any, tell: Tell
) -> VideoConfig:
    """The same; UserError where heads or a grid were given."""
    del shapes
    if num_heads is not None or grid_size is not None:
        raise UserError(
            f"num_heads, grid_size: got {num_heads}, {grid_size}, allowed is none: a video "
            "tokenizer has neither"
        )
    tell(f"fsq_levels: assumed {', '.join(map(str, config.fsq_levels))}, as published")
    return config


OFFICIAL = OfficialNames(
    family="video",
    titles=("the video tokenizer",),
    own_names=r"(encoder|decoder)_layers\.\d+\..*",
    draft=draft_video,
    complete=complete_video,
    weights=video_weights,
)
