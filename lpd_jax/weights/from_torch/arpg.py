"""ARPG (2503.10568): official names, and the sizes that shapes tell."""

from lpd_jax.models.arpg_sizes import ARPGConfig
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
    "token_embed": "embeddings.weight",
    "attention_norm": "attn_norm",
    "query": "attn.to_q",
    "key": "attn.to_k",
    "value": "attn.to_v",
    "proj": "attn.proj",
    "mlp_norm": "ffn_norm",
    "gate": "ffn.w1",
    "up": "ffn.w3",
    "down": "ffn.w2",
    "memory_norm": "layers.norm",
    "memory_key": "layers.to_k",
    "memory_value": "layers.to_v",
    "norm": "norm",
    "head": "head",
}
HALVES = {"blocks/content": "layers.self_dec", "blocks/query": "layers.cross_dec"}


def arpg_weights(path: str, shape: tuple[int, ...]) -> list[Weight]:
    """The official weights in one leaf of ours."""
    layers = [name for half, name in HALVES.items() if path.startswith(half)]
    return transformer_weights(path, shape, NAMES, *layers or [""])


def draft_arpg(shapes: Shapes) -> ARPGConfig:
    """All sizes but two: it has one head, and its grid is one cell. See `complete_any_order`.

    The table of embeddings tells classes and codes together, the head tells the codes.
    """
    norms = [r"(layers\.)?norm\.weight", r"layers\.\w+_dec\.\d+\.(attn|ffn)_norm\.weight"]
    width = common_size(shapes, *((norm, 0) for norm in norms))
    check_width(width)
    halves = [count_numbers(shapes, rf"{name}\.(\d+)\..*") for name in HALVES.values()]
    if halves[0] != halves[1]:
        raise UserError(
            f"layers: got {halves[0]} in {HALVES['blocks/content']} and {halves[1]} in "
            f"{HALVES['blocks/query']}, allowed is the same number"
        )
    codes = common_size(shapes, (r"head\.weight", 0))
    rows = common_size(shapes, (r"embeddings\.weight", 0), default=codes + 1003)
    config = ARPGConfig(
        num_layers=2 * halves[0],
        embed_dim=width,
        num_heads=1,
        grid_size=(1, 1),
        codebook_size=codes,
        num_classes=max(1, rows - codes - 3),
    )
    ffn = r"layers\.\w+_dec\.\d+\.ffn\."
    sources = (rf"{ffn}w[13]\.weight", 0), (rf"{ffn}w2\.weight", 1)
    hidden = common_size(shapes, *sources, default=config.mlp_dim)
    return fit_mlp(config, hidden, "layers.self_dec.0.ffn.w1.weight")


def complete_arpg(
    config: ARPGConfig,
    shapes: Shapes,
    num_heads: int | None,
    grid_size: int | tuple[int, ...] | None,
    tell: Tell,
) -> ARPGConfig:
    """Fills in heads and grid, which no weight tells."""
    del shapes
    return complete_any_order(config, "ARPG", num_heads, grid_size, tell)


OFFICIAL = OfficialNames(
    family="arpg",
    titles=("ARPG",),
    own_names=r"layers\.(self|cross)_dec\..*",
    draft=draft_arpg,
    complete=complete_arpg,
    weights=arpg_weights,
    beside=("freqs_cis",),  # rotary angles: its authors load what is there, and leave the rest
)
