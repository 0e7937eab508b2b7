"""RandAR (2412.01827): official names, and the sizes that shapes tell.

They are LlamaGen's, with one vector more. Released as safetensors, without a wrapper.
"""

from lpd_jax.models.randar import RandARConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.llama_shapes import check_width, complete_any_order, fit_mlp
from lpd_jax.weights.from_torch.state_dict_shapes import (
    OfficialNames,
    Shapes,
    Tell,
    Weight,
    common_size,
    count_numbers,
    transformer_weights,
)

NAMES = {
    "class_embed": "cls_embedding.embedding_table.weight",
    "token_embed": "tok_embeddings.weight",
    "query_embed": "pos_instruct_embeddings",
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


def randar_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weights in one leaf of ours."""
    return transformer_weights(path, shape, NAMES, "layers")


def draft_randar(shapes: Shapes) -> RandARConfig:
    """All sizes but two: it has one head, and its grid is one cell. See `complete_any_order`."""
    norms = [r"norm\.weight", r"layers\.\d+\.(attention|ffn)_norm\.weight"]
    width = common_size(shapes, *((norm, 0) for norm in norms))
    check_width(width)
    rows = common_size(shapes, (r"layers\.\d+\.attention\.wqkv\.weight", 0), default=3 * width)
    if rows != 3 * width:
        raise UserError(
            f"layers.0.attention.wqkv.weight: got {rows} rows, allowed are {3 * width}: "
            "grouped queries, whose heads share keys and values, are not known"
        )
    config = RandARConfig(
        num_layers=count_numbers(shapes, r"layers\.(\d+)\..*"),
        embed_dim=width,
        num_heads=1,
        grid_size=(1, 1),
        codebook_size=common_size(shapes, (r"tok_embeddings\.weight", 0), (r"output\.weight", 0)),
        num_classes=max(1, common_size(shapes, (r"cls_embedding\.embedding_table\.weight", 0)) - 1),
    )
    ffn = r"layers\.\d+\.feed_forward\."
    sources = (rf"{ffn}w[13]\.weight", 0), (rf"{ffn}w2\.weight", 1)
    hidden = common_size(shapes, *sources, default=config.mlp_dim)
    return fit_mlp(config, hidden, "layers.0.feed_forward.w1.weight")


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
)
