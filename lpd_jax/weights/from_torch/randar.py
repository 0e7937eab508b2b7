"""RandAR (2412.01827): official names, and the sizes that shapes tell.

They are LlamaGen's, with one vector more. Released as safetensors, without a wrapper.
"""

from lpd_jax.models.randar import RandARConfig
from lpd_jax.weights.from_torch.llama_shapes import (
    CACHES,
    complete_any_order,
    fit_told_mlp,
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

NAMES = {**LLAMAGEN_NAMES, "query_embed": "pos_instruct_embeddings"}


def randar_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weights in one leaf of ours."""
    return transformer_weights(path, shape, NAMES, "layers")


def draft_randar(shapes: Shapes) -> RandARConfig:
    """All sizes but two: it has one head, and its grid is one cell. See `complete_any_order`."""
    config = RandARConfig(num_heads=1, grid_size=(1, 1), **told_sizes(shapes))
    return fit_told_mlp(config, shapes)


def complete_randar(
    config: RandARConfig,
    shapes: Shapes,
    num_heads: int | None,
    grid_size: int | tuple[int, ...] | None,
    tell: Tell,
) -> RandARConfig:
    """Fills in heads and grid, which no weight tells."""
    del shapes
    return complete_any_order(config, "RandAR", num_heads, grid_size, tell)


OFFICIAL = OfficialNames(
    family="randar",
    titles=("RandAR",),
    own_names=r"pos_instruct_embeddings",
    draft=draft_randar,
    complete=complete_randar,
    weights=randar_weights,
    beside=(CACHES,),
)
