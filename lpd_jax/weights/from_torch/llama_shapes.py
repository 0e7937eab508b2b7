"""What PAR, RandAR and ARPG share in reading official state dicts: they stand on one decoder."""

import dataclasses
from typing import Any, TypeVar

from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.state_dict_shapes import (
    Shapes,
    Tell,
    common_size,
    count_numbers,
)

# Width of a published model -> its attention heads, which no weight tells.
PUBLISHED_HEADS = {768: 12, 1024: 16, 1280: 20, 1536: 24, 2560: 40, 2048: 32, 3200: 32, 4096: 32}
MLP_MULTIPLES = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # the published one first

# Of a model that has drawn before it was saved, as training scripts do that show samples.
CACHES = r"layers\.\d+\.attention\.kv_cache\.[kv]_cache"

# Our leaves -> LlamaGen's names.
NAMES = {
    "class_embed": "cls_embedding.embedding_table.weight",
    "token_embed": "tok_embeddings.weight",
    "attention_norm": "attention_norm",
    "qkv": "attention.wqkv",
    "proj": "attention.wo",
    "mlp_norm": "ffn_norm",
    "gate": "feed_forward.w1",
    "up": "feed_forward.w3",
    "down": "feed_forward.w2",
    "norm": "norm",
    "head": "output",
}

Config = TypeVar("Config", bound=Any)


def told_sizes(shapes: Shapes) -> dict[str, Any]:
    """The sizes that LlamaGen's own weights tell, by the fields of a config.

    Raises UserError for grouped queries, and for a width that no such model has.
    """
    norms = [r"norm\.weight", r"layers\.\d+\.(attention|ffn)_norm\.weight"]
    width = common_size(shapes, *((norm, 0) for norm in norms))
    check_width(width)
    rows = common_size(shapes, (r"layers\.\d+\.attention\.wqkv\.weight", 0), default=3 * width)
    if rows != 3 * width:
        raise UserError(
            f"layers.0.attention.wqkv.weight: got {rows} rows, allowed are {3 * width}: "
            "grouped queries, whose heads share keys and values, are not known"
        )
    classes = common_size(shapes, (r"cls_embedding\.embedding_table\.weight", 0))
    return {
        "num_layers": count_numbers(shapes, r"layers\.(\d+)\..*"),
        "embed_dim": width,
        "codebook_size": common_size(
            shapes, (r"tok_embeddings\.weight", 0), (r"output\.weight", 0)
        ),
        "num_classes": max(1, classes - 1),
    }


def fit_told_mlp(config: Config, shapes: Shapes) -> Config:
    """With the width of the MLP that LlamaGen's weights have."""
    ffn = r"layers\.\d+\.feed_forward\."
    sources = (rf"{ffn}w[13]\.weight", 0), (rf"{ffn}w2\.weight", 1)
    hidden = common_size(shapes, *sources, default=config.mlp_dim)
    return fit_mlp(config, hidden, "layers.0.feed_forward.w1.weight")


def check_width(width: int, name: str = "norm.weight") -> None:
    """Raises UserError for a width that no head of rotary positions in two dimensions divides."""
    if width % 4:
        raise UserError(f"{name}: got {width}, allowed are widths that 4 divides")


def fit_mlp(config: Config, hidden: int, name: str) -> Config:
    """With the published rounding of the MLP's width, or one that gives what the weights have.

    Args:
        hidden: the width.
        name: of a weight that has it, for errors.
    """
    for multiple in (*MLP_MULTIPLES, hidden):
        fitted = dataclasses.replace(config, mlp_multiple=multiple)
        if fitted.mlp_dim == hidden:
            return fitted
    least = dataclasses.replace(config, mlp_multiple=1).mlp_dim
    raise UserError(
        f"{name}: got {hidden} rows, allowed for the width "
        f"{config.embed_dim} are {least}, two thirds of four widths, and more"
    )


def published_heads(width: int, titles: str, tell: Tell) -> int:
    """Heads of the published models of that width; UserError where there is none."""
    check_published("num_heads", width, titles)
    num_heads = PUBLISHED_HEADS[width]
    tell(f"num_heads: assumed {num_heads}, as published models {width} wide have")
    return num_heads


def check_published(field: str, width: int, titles: str) -> None:
    """Raises UserError for a size that has to be given where no published model is that wide."""
    if width not in PUBLISHED_HEADS:
        raise UserError(
            f"{field}: missing; no published {titles} is {width} wide and no weight tells"
        )


def checked_grid(grid_size: int | tuple[int, ...], most_axes: int = 2) -> tuple[int, ...]:
    """(height, width) of what was asked for; of three axes (frames, height, width)."""
    sides = (grid_size, grid_size) if isinstance(grid_size, int) else tuple(grid_size)
    if not 2 <= len(sides) <= most_axes or min(sides) < 1:
        frames = " or frames x height x width" if most_axes > 2 else ""
        raise UserError(
            f"grid_size: got {by(sides)}, allowed is height x width{frames}, each from 1"
        )
    return sides


def complete_any_order(
    config: Config,
    title: str,
    num_heads: int | None,
    grid_size: int | tuple[int, ...] | None,
    tell: Tell,
) -> Config:
    """A model of any order with the two sizes that no weight tells; None: as published."""
    if num_heads is None:
        num_heads = published_heads(config.embed_dim, title, tell)
    if grid_size is None:
        check_published("grid_size", config.embed_dim, title)
        grid: tuple[int, ...] = (16, 16)
        tell(f"grid_size: assumed {by(grid)}, as published for 256 pixels")
    else:
        grid = checked_grid(grid_size)
    return dataclasses.replace(config, num_heads=num_heads, grid_size=grid)


def by(grid: tuple[int, ...]) -> str:
    """A grid as users write it."""
    return "x".join(map(str, grid))
