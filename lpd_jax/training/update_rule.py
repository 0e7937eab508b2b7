"""How a task's parameters learn: the state it starts from, and one step of it.

The loop knows nothing but this. A step may be a `jax.tree_util.Partial`: arrays bound to it, such
as a frozen network's weights, are inputs of the compiled program, not constants within it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from lpd_jax.models.transformer_family import LossFunction
from lpd_jax.runtime.bound_arrays import compile_with
from lpd_jax.training.train_step import TrainState, init_state, train_step


class UpdateRule(NamedTuple):
    """A state before the first step, and what a step makes of it.

    init: (params, whose leaves may be boxed with logical axes, key) -> TrainState.
    step: (state, batch, key of the run) -> (state, metrics).
    """

    init: Callable[[Any, jax.Array], TrainState]
    step: Callable[[TrainState, Any, jax.Array], tuple[TrainState, dict[str, jax.Array]]]


def one_optimizer(
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> UpdateRule:
    """The gradient of one loss, one optimizer: what a transformer learns by."""

    def init(params: Any, key: jax.Array) -> TrainState:
        del key
        return init_state(params, optimizer, ema_decay)

    step: Any = functools.partial(
        train_step, optimizer=optimizer, accumulate_steps=accumulate_steps, ema_decay=ema_decay
    )
    if not isinstance(loss_function, jax.tree_util.Partial):
        return UpdateRule(init, functools.partial(step, loss_function=loss_function))

    def bound_step(loss_function: LossFunction, state: TrainState, batch: Any, key: jax.Array):
        return step(state, batch, key, loss_function=loss_function)

    return UpdateRule(init, jax.tree_util.Partial(bound_step, loss_function))


def jit_step(rule: UpdateRule, shardings: Any, mesh: jax.sharding.Mesh | None = None) -> Any:
    """`rule.step`, compiled: the old state's memory becomes the new one's, laid out alike."""
    return compile_with(rule.step, mesh, donate_argnums=0, out_shardings=(shardings, None))
