"""LPD (2507.01957): official names, and the sizes that shapes tell."""

import dataclasses
import math

from lpd_jax.models.lpd import LPDConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.state_dict_shapes import (
    OfficialNames,
    Shapes,
    Tell,
    Weight,
    common_size,
    count_numbers,
    transformer_weights,
)

# Width of a published model -> its attention heads, which no shape tells.
PUBLISHED_HEADS = {1024: 16, 1280: 20, 1536: 24}

NAMES = {
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
BATCHED = ("query_embed", "position_embed")  # stored with a leading axis of one


def lpd_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weights in one leaf of ours."""
    return transformer_weights(path, shape, NAMES, "blocks", BATCHED)


def draft_lpd(shapes: Shapes) -> LPDConfig:
    """All sizes but two: it has one head, and its grid is one row. See `complete_lpd`."""
    norms = [r"z_proj_ln\.\w+", r"norm\.\w+", r"blocks\.\d+\.norm[12]\.\w+"]
    width = common_size(shapes, *((norm, 0) for norm in norms))
    hidden = common_size(shapes, (r"blocks\.\d+\.mlp\.fc1\.\w+", 0), default=4 * width)
    return LPDConfig(
        num_layers=count_numbers(shapes, r"blocks\.(\d+)\..*"),
        embed_dim=width,
        num_heads=1,
        mlp_ratio=max(1, hidden // width),
        grid_size=(1, max(1, common_size(shapes, (r"pos_embed", -2)) - 1)),
        codebook_size=common_size(shapes, (r"token_emb\.weight", 0), (r"head\.weight", 0)),
        num_classes=common_size(shapes, (r"class_emb\.weight", 0)),
    )


def complete_lpd(
    config: LPDConfig,
    shapes: Shapes,
    num_heads: int | None,
    grid_size: int | tuple[int, ...] | None,
    tell: Tell,
) -> LPDConfig:
    """Fills in the two sizes that no shape tells; None: the published heads, a square grid.

    Raises UserError when they are asked for, or do not fit the width or the position table.
    """
    del shapes
    if num_heads is None and (num_heads := PUBLISHED_HEADS.get(config.embed_dim)) is not None:
        tell(f"num_heads: assumed {num_heads}, as the published LPD {config.embed_dim} wide has")
    if num_heads is None:
        raise UserError(
            f"num_heads: missing; no published LPD is {config.embed_dim} wide and no weight tells"
        )
    if num_heads < 1 or config.embed_dim % num_heads:
        raise UserError(f"num_heads: got {num_heads}, allowed are divisors of {config.embed_dim}")
    num_tokens = math.prod(config.grid_size)
    if grid_size is None:
        grid_size = math.isqrt(num_tokens)
        if grid_size**2 != num_tokens:
            raise UserError(
                f"grid_size: missing; the {num_tokens} tokens that pos_embed has are no square "
                "grid, so give its height and width"
            )
        tell(f"grid_size: assumed {grid_size}x{grid_size}, a square of the {num_tokens} tokens")
    grid = (grid_size, grid_size) if isinstance(grid_size, int) else tuple(grid_size)
    if len(grid) != 2 or min(grid) < 1 or math.prod(grid) != num_tokens:
        raise UserError(
            f"grid_size: got {'x'.join(map(str, grid))}, allowed is a height x width of "
            f"{num_tokens} tokens, as pos_embed has"
        )
    return dataclasses.replace(config, num_heads=num_heads, grid_size=grid)


OFFICIAL = OfficialNames(
    family="lpd",
    titles=("LPD",),
    own_names=r"fake_latent|mask_token|z_proj_ln\..*|blocks\.\d+\.attn\.qkv\..*",
    draft=draft_lpd,
    complete=complete_lpd,
    weights=lpd_weights,
)
