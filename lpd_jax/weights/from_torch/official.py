"""Official state dicts: which family they are of, its sizes, and every weight that it has."""

import functools
import re
from collections.abc import Callable, Iterable

from lpd_jax.models.family import ModelConfig, abstract_params
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.lpd import complete_lpd, draft_lpd, lpd_weights
from lpd_jax.weights.from_torch.par import complete_par, draft_par, par_weights
from lpd_jax.weights.from_torch.state_dict_shapes import Shapes, Tell, Weight
from lpd_jax.weights.from_torch.vq import vq_config, vq_weights
from lpd_jax.weights.model_directory import flatten_params

# Any of these names tells the family.
FAMILY_MARKS = {
    "LPD": r"fake_latent|mask_token|z_proj_ln\..*|blocks\.\d+\.attn\.qkv\..*",
    "VQ": r"quantize\.embedding\..*|(encoder|decoder)\.conv_blocks\..*",
    "PAR": r"tok_embeddings\..*|spe_tok_embeddings\..*|layers\.\d+\.attention\.wqkv\..*",
}
DRAFTS: dict[str, Callable[[Shapes], ModelConfig]] = {
    "LPD": draft_lpd,
    "VQ": vq_config,
    "PAR": draft_par,
}
TO_WEIGHTS: dict[type, Callable[[str, tuple[int, ...]], list[Weight]]] = {
    LPDConfig: lpd_weights,
    PARConfig: par_weights,
    VQConfig: vq_weights,
}


def find_family(names: Iterable[str]) -> str | None:
    """A key of FAMILY_MARKS, by the names of the weights; None: none of them."""
    names = list(names)
    for family, mark in FAMILY_MARKS.items():
        if any(re.fullmatch(mark, name) for name in names):
            return family
    return None


def config_from_shapes(shapes: Shapes) -> ModelConfig:
    """Reads every size off the shapes; where weights disagree, as most of them say.

    Heads and grid of a transformer are still missing: `complete_config` settles them.
    Raises ValueError when the names, or the sizes, are those of no model known here.
    """
    family = find_family(shapes)
    if family is None:
        some = ", ".join(list(shapes)[:3]) or "none at all"
        raise UserError(
            f"these are weights of no known model ({some}); known are LPD, PAR, LlamaGen and VQ"
        )
    return DRAFTS[family](shapes)


def complete_config(
    config: ModelConfig,
    shapes: Shapes,
    num_heads: int | None = None,
    grid_size: int | tuple[int, int] | None = None,
    tell: Tell = lambda line: None,
) -> ModelConfig:
    """Fills in the heads and the grid of a transformer; None: as published.

    Args:
        config: of `config_from_shapes`.
        shapes: of what it was read off.
        tell: is called with a line about each of the two that is not known.

    Raises:
        ValueError: heads or a grid that are not published, do not fit, or that a VQ has not.
    """
    if isinstance(config, LPDConfig):
        return complete_lpd(config, num_heads, grid_size, tell)
    if isinstance(config, PARConfig):
        return complete_par(config, shapes, num_heads, grid_size, tell)
    if num_heads is not None or grid_size is not None:
        raise UserError("num_heads, grid_size: a VQ tokenizer has neither; leave them out")
    return config


@functools.cache  # tracing a model takes a second or more
def leaf_shapes(config: ModelConfig) -> Shapes:
    """Path -> shape of each leaf of our parameters."""
    return {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}


def official_weights(config: ModelConfig) -> list[Weight]:
    """Every weight that an official state dict of this model has."""
    to_weights = TO_WEIGHTS[type(config)]
    return [w for path, shape in leaf_shapes(config).items() for w in to_weights(path, shape)]
