"""What the official LPD and VQ checkpoints call their weights, and the sizes these tell.

LPD (2507.01957) and the VQ tokenizer of LlamaGen (2406.06525). Torch keeps Linear weights as
(out, in) and convolutions as (out, in, height, width); ours end in (in, out).
"""

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lpd_jax.model_directory import flatten_params
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.registry import abstract_params
from lpd_jax.models.tokenizer import VQConfig

Config = LPDConfig | VQConfig
Shapes = Mapping[str, tuple[int, ...]]

# Width of a published LPD model -> its attention heads, which no shape tells.
PUBLISHED_HEADS = {1024: 16, 1280: 20, 1536: 24}

LPD_NAMES = {
    "class_embed": "class_emb.weight",
    "null_class_embed": "fake_latent",
    "token_embed": "token_emb.weight",
    "query_embed": "mask_token",
    "position_embed": "pos_embed",
    "input_norm": "z_proj_ln",
    "attention_norm": "norm1",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "mlp_norm": "norm2",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
    "norm": "norm",
    "head": "head",
}
LPD_BATCHED = ("query_embed", "position_embed")  # stored with a leading axis of one
VQ_NAMES = (
    (r"(encoder|decoder)/mid_(\d)/(\w+)", r"\1.mid.\2.\3"),
    (r"(encoder|decoder)/conv_blocks_(\d+)_(res|attn)_(\d+)/(\w+)", r"\1.conv_blocks.\2.\3.\4.\5"),
    (r"(encoder|decoder)/conv_blocks_(\d+)_(down|up)sample", r"\1.conv_blocks.\2.\3sample.conv"),
    (r"(encoder|decoder)/(conv_in|norm_out|conv_out)", r"\1.\2"),
    (r"(quant_conv|post_quant_conv)", r"\1"),
)
LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}

# Any of these names tells the family.
FAMILY_MARKS = (
    ("LPD", r"fake_latent|mask_token|z_proj_ln\..*|blocks\.\d+\.attn\.qkv\..*"),
    ("VQ", r"quantize\.embedding\..*|(encoder|decoder)\.conv_blocks\..*"),
    ("PAR/LlamaGen", r"tok_embeddings\..*|spe_tok_embeddings\..*|layers\.\d+\.attention\.wqkv\..*"),
)


class Weight(NamedTuple):
    """One official weight and its place in ours."""

    name: str  # in the state dict
    shape: tuple[int, ...]  # in the state dict
    path: str  # in ours, "blocks/qkv/kernel"
    layer: int | None = None  # row of a stacked leaf


def find_family(names: Iterable[str]) -> str | None:
    """Tells "LPD", "VQ" or "PAR/LlamaGen" by the names of the weights; None: none of them."""
    names = list(names)
    for family, mark in FAMILY_MARKS:
        if any(re.fullmatch(mark, name) for name in names):
            return family
    return None


def config_from_shapes(shapes: Shapes) -> Config:
    """Reads every size off the shapes; where weights disagree, as most of them say.

    An LPD comes with one head and its grid in one row; `complete_lpd_config` settles both.
    Raises ValueError when the names are those of no model known here.
    """
    family = find_family(shapes)
    if family == "LPD":
        return _lpd_config(shapes)
    if family == "VQ":
        return _vq_config(shapes)
    if family is not None:
        raise ValueError(f"a {family} checkpoint is not supported yet; known are LPD and VQ")
    some = ", ".join(list(shapes)[:3]) or "none at all"
    raise ValueError(f"these are weights of no known model ({some}); known are LPD and VQ")


def complete_lpd_config(
    config: LPDConfig, num_heads: int | None, grid_size: int | tuple[int, int] | None
) -> LPDConfig:
    """Fills in the two sizes that no shape tells; None: the published heads, a square grid.

    Raises ValueError when they are asked for, or do not fit the width or the position table.
    """
    if num_heads is None:
        num_heads = PUBLISHED_HEADS.get(config.embed_dim)
    if num_heads is None:
        raise ValueError(
            f"num_heads: no published LPD is {config.embed_dim} wide and no weight tells; give it"
        )
    if num_heads < 1 or config.embed_dim % num_heads:
        raise ValueError(f"num_heads: got {num_heads}, allowed are divisors of {config.embed_dim}")
    num_tokens = math.prod(config.grid_size)
    if grid_size is None:
        grid_size = math.isqrt(num_tokens)
        if grid_size**2 != num_tokens:
            raise ValueError(
                f"grid_size: {num_tokens} tokens, as pos_embed has, are no square grid; "
                "give its height and width"
            )
    grid = (grid_size, grid_size) if isinstance(grid_size, int) else tuple(grid_size)
    if len(grid) != 2 or min(grid) < 1 or math.prod(grid) != num_tokens:
        raise ValueError(
            f"grid_size: got {'x'.join(map(str, grid))}, allowed is a height x width of "
            f"{num_tokens} tokens, as pos_embed has"
        )
    return dataclasses.replace(config, num_heads=num_heads, grid_size=grid)


@functools.cache  # tracing a model takes a second or more
def leaf_shapes(config: Config) -> Shapes:
    """Path -> shape of each leaf of our parameters."""
    return {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}


def official_weights(config: Config) -> list[Weight]:
    """Every weight that an official state dict of this model has."""
    to_weights = _lpd_weights if isinstance(config, LPDConfig) else _vq_weights
    return [w for path, shape in leaf_shapes(config).items() for w in to_weights(path, shape)]


def _lpd_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    *stack, module, leaf = ["", *path.split("/")]
    if leaf in LPD_NAMES:  # an embedding, a leaf without a module
        return [Weight(LPD_NAMES[leaf], (1, *shape) if leaf in LPD_BATCHED else shape, path)]
    name = f"{LPD_NAMES[module]}.{LEAVES[leaf]}"
    if "blocks" not in stack:
        return [Weight(name, _torch_shape(leaf, shape), path)]
    inner = _torch_shape(leaf, shape[1:])
    return [Weight(f"blocks.{i}.{name}", inner, path, i) for i in range(shape[0])]


def _vq_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    if path == "codebook":
        return [Weight("quantize.embedding.weight", shape, path)]
    module, _, leaf = path.rpartition("/")
    for pattern, replacement in VQ_NAMES:
        if match := re.fullmatch(pattern, module):
            name = f"{match.expand(replacement)}.{LEAVES[leaf]}"
            return [Weight(name, _torch_shape(leaf, shape, rank=4), path)]
    raise KeyError(f"no official name for parameter {path!r}; add a rule to VQ_NAMES")


def _torch_shape(leaf: str, shape: tuple[int, ...], rank: int = 2) -> tuple[int, ...]:
    """(in, out) -> (out, in); (3, 3, in, out) -> (out, in, 3, 3); 1x1 convolutions padded."""
    if leaf != "kernel":
        return shape
    *window, inputs, outputs = shape
    return (outputs, inputs, *[1] * (rank - 2 - len(window)), *window)


def _lpd_config(shapes: Shapes) -> LPDConfig:
    norms = [r"z_proj_ln\.\w+", r"norm\.\w+", r"blocks\.\d+\.norm[12]\.\w+"]
    width = _size(shapes, *((norm, 0) for norm in norms))
    hidden = _size(shapes, (r"blocks\.\d+\.mlp\.fc1\.\w+", 0), default=4 * width)
    return LPDConfig(
        num_layers=_count(shapes, r"blocks\.(\d+)\..*"),
        embed_dim=width,
        num_heads=1,
        mlp_ratio=max(1, hidden // width),
        grid_size=(1, max(1, _size(shapes, (r"pos_embed", -2)) - 1)),
        codebook_size=_size(shapes, (r"token_emb\.weight", 0), (r"head\.weight", 0)),
        num_classes=_size(shapes, (r"class_emb\.weight", 0)),
    )


def _vq_config(shapes: Shapes) -> VQConfig:
    block = r"encoder\.conv_blocks\.{}\.res\.{}\.(?:norm2|conv2)\.\w+"
    levels = range(_count(shapes, r"encoder\.conv_blocks\.(\d+)\..*"))
    base = _size(shapes, (r"encoder\.conv_in\.\w+", 0))
    channels = [_size(shapes, (block.format(level, r"\d+"), 0), default=base) for level in levels]
    if any(width % base for width in channels):
        raise ValueError(f"encoder widths {channels} are no multiples of conv_in's {base}")
    blocks = [_count(shapes, block.format(level, r"(\d+)")) for level in levels]
    return VQConfig(
        base_channels=base,
        channel_multipliers=tuple(width // base for width in channels),
        num_res_blocks=Counter(blocks).most_common(1)[0][0],
        z_channels=_size(
            shapes,
            (r"encoder\.conv_out\.\w+", 0),
            (r"decoder\.conv_in\.weight", 1),
            (r"quant_conv\.weight", 1),
            (r"post_quant_conv\.\w+", 0),
        ),
        codebook_size=_size(shapes, (r"quantize\.embedding\.weight", 0)),
        codebook_dim=_size(
            shapes,
            (r"quantize\.embedding\.weight", 1),
            (r"quant_conv\.\w+", 0),
            (r"post_quant_conv\.weight", 1),
        ),
        image_channels=_size(
            shapes, (r"encoder\.conv_in\.weight", 1), (r"decoder\.conv_out\.\w+", 0)
        ),
    )


def _size(shapes: Shapes, *sources: tuple[str, int], default: int = 32) -> int:
    """The most frequent length of the given axes of weights whose names match.

    With one misshapen weight among many, that one is reported and not all the others. `default`
    stands in when every source is missing, which is then an error in itself.
    """
    found: Counter[int] = Counter()
    for pattern, axis in sources:
        for name, shape in shapes.items():
            if re.fullmatch(pattern, name) and -len(shape) <= axis < len(shape):
                found[shape[axis]] += 1
    return max(1, found.most_common(1)[0][0]) if found else default


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that `pattern` finds; at least one."""
    found = (re.fullmatch(pattern, name) for name in shapes)
    return max((int(match.group(1)) + 1 for match in found if match), default=1)
