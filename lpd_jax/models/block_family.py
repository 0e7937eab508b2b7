"""What families share whose transformer is a stack of equal blocks."""

from typing import Any

from lpd_jax.models.transformer import stack_blocks, unstack_blocks
from lpd_jax.models.transformer_family import Family


class BlockFamily(Family):
    """Trained with its blocks stacked, drawn with them layer by layer.

    Its config has `num_layers`, `num_heads` and `embed_dim`, its parameters have "blocks".
    """

    def for_drawing(self, params: Any) -> Any:
        return unstack_blocks(params, self.config.num_layers)

    def for_saving(self, params: Any) -> Any:
        return stack_blocks(params)

    @property
    def head_dim(self) -> int:
        return self.config.embed_dim // self.config.num_heads
