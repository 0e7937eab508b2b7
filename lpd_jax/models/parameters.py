"""Parameters of any model: made, or only their shapes."""

from typing import Any

import flax.linen as nn
import jax

from lpd_jax.models.family import family_of


def init_boxed(config: Any, key: jax.Array) -> Any:
    """Fresh parameters, each boxed with its logical axis names."""
    return family_of(config).init(key)


def init_params(config: Any, key: jax.Array) -> Any:
    """Fresh parameters as nested dictionaries of float32 arrays."""
    return nn.unbox(jax.jit(init_boxed, static_argnums=0)(config, key))


def abstract_params(config: Any) -> Any:
    """Shapes of the parameters, as `jax.ShapeDtypeStruct`, without making them."""

    def init_unboxed(key: jax.Array) -> Any:
        return nn.unbox(init_boxed(config, key))

    return jax.eval_shape(init_unboxed, jax.random.key(0))


def count_params(config: Any) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))
