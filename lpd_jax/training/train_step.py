"""One optimizer update as a pure function; it knows neither model nor data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lpd_jax.models.transformer_family import LossFunction


class TrainState(NamedTuple):
    """All that a step changes. What a run has none of is None, and not in its checkpoints.

    `ema_params` is the running average of `params`. Of a tokenizer, `adversary` is the
    discriminator with its optimizer, and `code_usage` the share of tokens that codes had of late.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema_params: Any = None
    adversary: Any = None
    code_usage: Any = None

    @property
    def evaluated_params(self) -> Any:
        """What is validated, drawn with and exported: the average where there is one."""
        return self.params if self.ema_params is None else self.ema_params


def init_state(
    params: Any, optimizer: optax.GradientTransformation, ema_decay: float = 0.0
) -> TrainState:
    """The state before the first step; an average begins as a copy of the parameters."""
    ema_params = jax.tree.map(jnp.copy, params) if ema_decay else None
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), ema_params)


def abstract_state(init: Callable, shardings: Any, *args: Any) -> Any:
    """Shapes of the state with the shardings it is to be restored with."""
    shapes = nn.unbox(jax.eval_shape(init, *args))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def train_step(
    state: TrainState,
    batch: Any,
    key: jax.Array,
    *,
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. Random numbers derive from (key, step), so that a resumed run draws the same.

    Args:
        state: donated by callers, so that the update needs no second copy.
        batch: arrays with the batch along their first axis.
        key: of the run, the same in every step.
        loss_function: mean over the batch it is given.
        optimizer: of `state.opt_state`.
        accumulate_steps: parts to cut the batch into, whose gradients are averaged.
        ema_decay: of the running average, where the state has one.

    Returns:
        The new state, and metrics: `loss`, `grad_norm` before clipping, and the loss's own.
    """
    step_key = jax.random.fold_in(key, state.step)
    gradient = jax.value_and_grad(loss_function, has_aux=True)
    if accumulate_steps == 1:
        (loss, metrics), grads = gradient(state.params, batch, step_key)
    else:
        mean = mean_over_parts(gradient, state.params, batch, step_key, accumulate_steps)
        (loss, metrics), grads = mean
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
        ema_params = update_average(ema_params, params, state.step, ema_decay)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads), **metrics}
    return state._replace(
        step=state.step + 1, params=params, opt_state=opt_state, ema_params=ema_params
    ), metrics


def update_average(average: Any, params: Any, step: jax.Array, ema_decay: float) -> Any:
    """The running average after the update of `step`, which made `params`.

    The first steps count for more, or the average would remember the random weights: the decay of
    update n (from 0) is at most (1 + n) / (10 + n).
    """
    decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
    return optax.incremental_update(params, average, 1 - decay)


def mean_over_parts(
    function: Callable, params: Any, batch: Any, key: jax.Array, num_parts: int
) -> Any:
    """The mean of `function(params, part, key of the part)` over equal parts of a batch."""

    def to_parts(x: jax.Array) -> jax.Array:
        # Every num_parts-th row: each device keeps the rows it has, which slices would move.
        return x.reshape(-1, num_parts, *x.shape[1:]).swapaxes(0, 1)

    def add_part(total: Any, part_and_index: Any) -> tuple[Any, None]:
        part, index = part_and_index
        value = function(params, part, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, value), None

    parts = jax.tree.map(to_parts, batch)
    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(function, params, first, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add_part, zeros, (parts, jnp.arange(num_parts)))
    return jax.tree.map(lambda x: x / num_parts, total)
