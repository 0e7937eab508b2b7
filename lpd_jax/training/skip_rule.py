"""Steps that are left out: a gradient far above the usual changes nothing (RandAR's rule)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

FIRST_STEPS = 100  # none of which is left out


class SkipState(NamedTuple):
    """Steps so far, those left out among them, and the state of what is wrapped."""

    step: jax.Array
    inner: Any


def skip_large(inner: optax.GradientTransformation, most: float) -> optax.GradientTransformation:
    """An optimizer without the steps whose gradient's norms, tensor by tensor, sum to `most`.

    After the first 100 steps such a step changes neither weights nor moments, nor does the learning
    rate move on. As in the released code of RandAR (arXiv 2412.01827) the norms are those of what
    comes in, which is clipped there; stacked layers count as the tensors that they are.
    """

    def init(params: Any) -> SkipState:
        return SkipState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(grads: Any, state: SkipState, params: Any = None) -> tuple[Any, SkipState]:
        is_skipped = (state.step >= FIRST_STEPS) & (sum_of_norms(grads) >= most)
        updates, inner_state = inner.update(grads, state.inner, params)

        def unless_skipped(new: jax.Array, old: Any) -> jax.Array:
            return jnp.where(is_skipped, old, new)

        updates = jax.tree.map(lambda leaf: unless_skipped(leaf, jnp.zeros_like(leaf)), updates)
        kept = jax.tree.map(unless_skipped, inner_state, state.inner)
        return updates, SkipState(state.step + 1, kept)

    return optax.GradientTransformation(init, update)


def sum_of_norms(grads: Any) -> jax.Array:
    """The sum of the norms of all tensors; "blocks" are stacked, one tensor a layer."""

    def norms(path: tuple, leaf: jax.Array) -> jax.Array:
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        layers = len(leaf) if "blocks" in names else 1
        return jnp.linalg.norm(leaf.astype(jnp.float32).reshape(layers, -1), axis=1).sum()

    return jnp.stack(jax.tree.leaves(jax.tree_util.tree_map_with_path(norms, grads))).sum()
