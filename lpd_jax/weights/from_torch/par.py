"""PAR (2412.15119) and LlamaGen (2406.06525): official names, and the sizes that shapes tell.

They are one decoder; PAR adds a table of n - 1 transition tokens. Some checkpoints carry along
`freqs_cis`, the rotary angles of every slot: no weights, but they tell the heads and the grid.
"""

import dataclasses
import math

from lpd_jax.models.par_layout import PARConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.llama_shapes import (
    CACHES,
    by,
    check_published,
    checked_grid,
    fit_told_mlp,
    published_heads,
    told_sizes,
)
from lpd_jax.weights.from_torch.llama_shapes import NAMES as LLAMAGEN_NAMES
from lpd_jax.weights.from_torch.state_dict_shapes import (
    OfficialNames,
    Shapes,
    Tell,
    Weight,
    transformer_weights,
)

PUBLISHED_GRID = (24, 24)
TITLES = "PAR or LlamaGen"

ANGLES = "freqs_cis"
TRANSITIONS = "spe_tok_embeddings.special_embeddings.weight"
CAPTIONS = ("cls_embedding.cap_proj.", "cls_embedding.uncond_embedding")
NAMES = {**LLAMAGEN_NAMES, "transition_embed": TRANSITIONS}


def par_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weights in one leaf of ours."""
    return transformer_weights(path, shape, NAMES, "layers")


def draft_par(shapes: Shapes) -> PARConfig:
    """All sizes but two: it has one head, and its grid is the smallest. See `complete_par`.

    Raises UserError for a model of captions, for grouped queries, and for sizes that no PAR has.
    """
    if captions := [name for name in shapes if name.startswith(CAPTIONS)]:
        raise UserError(
            f"{captions[0]}: got a LlamaGen that draws from text; allowed are those that draw from "
            f"classes, with {NAMES['class_embed']}"
        )
    sizes, num_parallel = told_sizes(shapes), _num_parallel(shapes)
    smallest = (math.isqrt(num_parallel),) * 2
    config = PARConfig(num_heads=1, num_parallel=num_parallel, grid_size=smallest, **sizes)
    return fit_told_mlp(config, shapes)


def complete_par(
    config: PARConfig,
    shapes: Shapes,
    num_heads: int | None,
    grid_size: int | tuple[int, ...] | None,
    tell: Tell,
) -> PARConfig:
    """Fills in the two sizes that no weight tells; None: of `freqs_cis`, else as published.

    Raises UserError when they are asked for, or do not fit the other sizes.
    """
    heads_there, tokens_there = _told_by_angles(shapes, config)
    if num_heads is None:
        num_heads = heads_there or published_heads(config.embed_dim, TITLES, tell)
    if heads_there not in (None, num_heads):
        raise UserError(f"num_heads: got {num_heads}, allowed is {heads_there}, as {ANGLES} tells")
    grid: tuple[int, ...]
    if grid_size is None:
        grid = _square(tokens_there) if tokens_there else _published_grid(config, tell)
    else:
        grid = checked_grid(grid_size, most_axes=3)
        if tokens_there not in (None, math.prod(grid)):
            tell(f"grid_size: {by(grid)} as asked, though {ANGLES} is of {tokens_there} tokens")
    _check_transitions(config, grid)
    return dataclasses.replace(config, num_heads=num_heads, grid_size=grid)


def _num_parallel(shapes: Shapes) -> int:
    """n, of the table with n - 1 rows; LlamaGen has none, and n = 1."""
    if TRANSITIONS not in shapes:
        return 1
    rows = shapes[TRANSITIONS][0] if shapes[TRANSITIONS] else 0
    if not rows or math.isqrt(rows + 1) ** 2 != rows + 1:
        raise UserError(
            f"{TRANSITIONS}: got {rows} rows, allowed are n - 1 for n = 4, 9, 16 and other squares"
        )
    return rows + 1


def _check_transitions(config: PARConfig, grid: tuple[int, ...]) -> None:
    side = math.gcd(*grid[-2:])  # regions are of each frame
    squares = [root * root for root in range(1, side + 1) if side % root == 0]
    if config.num_parallel not in squares:
        raise UserError(
            f"{TRANSITIONS}: got {config.num_parallel - 1} rows, allowed on a grid of {by(grid)} "
            f"are n - 1 for n = {', '.join(map(str, squares))}"
        )


def _told_by_angles(shapes: Shapes, config: PARConfig) -> tuple[int | None, int | None]:
    """Heads and tokens by `freqs_cis` [class, tokens, transitions; K / 2; 2], None for unknown."""
    match shapes.get(ANGLES):
        case (slots, pairs, 2) if pairs and not config.embed_dim % (2 * pairs):
            return config.embed_dim // (2 * pairs), max(0, slots - config.num_parallel) or None
    return None, None


def _published_grid(config: PARConfig, tell: Tell) -> tuple[int, int]:
    check_published("grid_size", config.embed_dim, TITLES)
    others = "; 16x16 is for 256" if config.num_parallel == 1 else ""
    tell(f"grid_size: assumed {by(PUBLISHED_GRID)}, as published for 384 pixels{others}")
    return PUBLISHED_GRID


def _square(num_tokens: int) -> tuple[int, int]:
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise UserError(
            f"grid_size: missing; the {num_tokens} tokens that {ANGLES} has are no square grid, so "
            "give its height and width"
        )
    return side, side


OFFICIAL = OfficialNames(
    family="par",
    titles=("PAR", "LlamaGen"),
    own_names=r"spe_tok_embeddings\..*",
    shared_names=r"tok_embeddings\..*|layers\.\d+\.attention\.wqkv\..*",
    draft=draft_par,
    complete=complete_par,
    weights=par_weights,
    beside=(ANGLES, CACHES),
)
