"""The VQ tokenizer of LlamaGen (2406.06525): official names, and the sizes that shapes tell."""

import re
from collections import Counter
from typing import Any

import numpy as np

from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.state_dict_shapes import (
    LEAVES,
    OfficialNames,
    Shapes,
    Tell,
    Weight,
    common_size,
    count_numbers,
    torch_shape,
)

# Which codes were used of late: a record of training that official checkpoints carry along.
CODEBOOK_USED, CODEBOOK_USED_LENGTH = "quantize.codebook_used", 65536

NAMES = (
    (r"(encoder|decoder)/mid_(\d)/(\w+)", r"\1.mid.\2.\3"),
    (r"(encoder|decoder)/conv_blocks_(\d+)_(res|attn)_(\d+)/(\w+)", r"\1.conv_blocks.\2.\3.\4.\5"),
    (r"(encoder|decoder)/conv_blocks_(\d+)_(down|up)sample", r"\1.conv_blocks.\2.\3sample.conv"),
    # The last is of our own options, named in the same manner.
    (r"(encoder|decoder)/(conv_in|norm_out|conv_out|conv_pixels)", r"\1.\2"),
    (r"(quant_conv|post_quant_conv)", r"\1"),
)


def vq_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weight that one leaf of ours is."""
    if path == "codebook":
        return [Weight("quantize.embedding.weight", shape, path)]
    module, _, leaf = path.rpartition("/")
    for pattern, replacement in NAMES:
        if match := re.fullmatch(pattern, module):
            name = f"{match.expand(replacement)}.{LEAVES[leaf]}"
            return [Weight(name, torch_shape(leaf, shape, rank=4), path)]
    raise KeyError(f"no official name for parameter {path!r}; add a rule to NAMES")


def vq_config(shapes: Shapes) -> VQConfig:
    """Every size."""
    block = r"encoder\.conv_blocks\.{}\.res\.{}\.(?:norm2|conv2)\.\w+"
    levels = range(count_numbers(shapes, r"encoder\.conv_blocks\.(\d+)\..*"))
    base = common_size(shapes, (r"encoder\.conv_in\.\w+", 0))
    channels = [
        common_size(shapes, (block.format(level, r"\d+"), 0), default=base) for level in levels
    ]
    if any(width % base for width in channels):
        raise UserError(
            f"encoder.conv_blocks: got widths {channels}, allowed are multiples of conv_in's {base}"
        )
    blocks = [count_numbers(shapes, block.format(level, r"(\d+)")) for level in levels]
    return VQConfig(
        base_channels=base,
        channel_multipliers=tuple(width // base for width in channels),
        num_res_blocks=Counter(blocks).most_common(1)[0][0],
        z_channels=common_size(
            shapes,
            (r"encoder\.conv_out\.\w+", 0),
            (r"decoder\.conv_in\.weight", 1),
            (r"quant_conv\.weight", 1),
            (r"post_quant_conv\.\w+", 0),
        ),
        codebook_size=common_size(shapes, (r"quantize\.embedding\.weight", 0)),
        codebook_dim=common_size(
            shapes,
            (r"quantize\.embedding\.weight", 1),
            (r"quant_conv\.\w+", 0),
            (r"post_quant_conv\.weight", 1),
        ),
        image_channels=common_size(
            shapes, (r"encoder\.conv_in\.weight", 1), (r"decoder\.conv_out\.\w+", 0)
        ),
    )


def complete_vq(
    config: VQConfig, shapes: Shapes, num_heads: int | None, grid_size: Any, tell: Tell
) -> VQConfig:
    """The same; UserError where heads or a grid were given."""
    del shapes, tell
    if num_heads is not None or grid_size is not None:
        raise UserError(
            f"num_heads, grid_size: got {num_heads}, {grid_size}, allowed is none: a VQ tokenizer "
            "has neither"
        )
    return config


def codes_used() -> dict[str, np.ndarray]:
    """The record of codes that official code looks for, with none in it."""
    return {CODEBOOK_USED: np.zeros(CODEBOOK_USED_LENGTH, np.float32)}


OFFICIAL = OfficialNames(
    family="vq",
    titles=("VQ",),
    own_names=r"quantize\.embedding\..*|(encoder|decoder)\.conv_blocks\..*",
    draft=vq_config,
    complete=complete_vq,
    weights=vq_weights,
    beside=(CODEBOOK_USED,),
    written_beside=codes_used,
)
