"""Sizes of transformers of LlamaGen's blocks: all fields of those that draw in any order."""

import dataclasses
import math
from typing import Protocol

from lpd_jax.decoding.grid import check_picture_grid
from lpd_jax.models.rotary import check_rotary_heads
from lpd_jax.models.size_limits import MOST_CLASSES, MOST_CODES, MOST_LAYERS, MOST_WIDTH
from lpd_jax.runtime.config_fields import check_rates, check_sizes, check_types
from lpd_jax.runtime.errors import UserError

SIZES = {  # field -> the most that anything is built of
    "num_layers": MOST_LAYERS,
    "embed_dim": MOST_WIDTH,
    "num_heads": MOST_WIDTH,
    "mlp_multiple": MOST_WIDTH,
    "codebook_size": MOST_CODES,
    "num_classes": MOST_CLASSES,
}
RATES = ("label_drop_rate", "token_drop_rate", "dropout_rate")


@dataclasses.dataclass(frozen=True)
class LlamaSizes:
    """Sizes that such models have in common; `grid_size` is (height, width) in tokens.

    `matrix_std` and `embedding_std` are those of fresh weights: 0.02 as published, too little for
    narrow models.
    """

    num_layers: int
    embed_dim: int
    num_heads: int
    grid_size: tuple[int, int] = (16, 16)
    codebook_size: int = 16384
    num_classes: int = 1000
    mlp_multiple: int = 256
    matrix_std: float = 0.02
    embedding_std: float = 0.02
    label_drop_rate: float = 0.1
    token_drop_rate: float = 0.1
    dropout_rate: float = 0.1

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        check_picture_grid(self.grid_size, "grid_size")
        check_rates(self, RATES)
        check_stds(self)
        check_rotary_heads(self.embed_dim, self.num_heads, self.grid_size)

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid_size)

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.num_classes

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def mlp_dim(self) -> int:
        return swiglu_dim(self.embed_dim, self.mlp_multiple)


def swiglu_dim(embed_dim: int, multiple: int) -> int:
    """Width of an MLP: two thirds of four widths, as SwiGLU has it, rounded up."""
    return -(-int(8 * embed_dim / 3) // multiple) * multiple


class FreshWeights(Protocol):
    """How far fresh weights spread."""

    @property
    def matrix_std(self) -> float: ...
    @property
    def embedding_std(self) -> float: ...


def check_stds(config: FreshWeights) -> None:
    """Raises UserError unless fresh weights differ from each other."""
    for name in ("matrix_std", "embedding_std"):
        if getattr(config, name) <= 0:
            raise UserError(f"{name}: got {getattr(config, name)}, allowed is above 0")
