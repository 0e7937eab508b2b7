"""What families share whose transformer is a stack of equal blocks."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax

from lpd_jax.models.transformer import stack_blocks, unstack_blocks
from lpd_jax.models.transformer_family import Family, TeacherForced
from lpd_jax.models.weight_layout import lay_back, lay_out


class BlockFamily(Family):
    """Trained with its blocks stacked, drawn with them layer by layer.

    Its config has `num_layers`, `num_heads` and `embed_dim`, its parameters have "blocks".
    """

    module: ClassVar[Callable[..., Any]]  # config and options -> the Linen module of training

    def init(self, key: jax.Array) -> Any:
        model = self.module(self.config)
        return model.init(key, *model.example_inputs())["params"]

    def for_drawing(self, params: Any) -> Any:
        return lay_out(unstack_blocks(params, self.config.num_layers))

    def for_saving(self, params: Any) -> Any:
        return stack_blocks(lay_back(params))

    @property
    def head_dim(self) -> int:
        return self.config.embed_dim // self.config.num_heads

    def logits(
        self,
        params: Any,
        inputs: TeacherForced,
        train: bool = False,
        dropout_key: jax.Array | None = None,
        **options: Any,
    ) -> jax.Array:
        rngs = None if dropout_key is None else {"dropout": dropout_key}
        return self.module(self.config, **options).apply(
            {"params": params}, *self.module_inputs(inputs), train, rngs=rngs
        )

    def module_inputs(self, inputs: TeacherForced) -> Sequence[Any]:
        """What the module is called with: all of them, unless it knows its own order."""
        return inputs
