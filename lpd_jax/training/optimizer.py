"""AdamW with clipping, and the warm-up, constant, cosine learning rate (LPD, section 4.1)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lpd_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The rate warms up, stays, and falls to `final_learning_rate` over the last steps.

    A gradient longer than `clip_norm` is shortened; one longer than `stop_grad_norm` ends the run
    (0: none does).
    """

    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 0
    cosine_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.02
    clip_norm: float = 3.0
    stop_grad_norm: float = 0.0

    def __post_init__(self):
        above_0, not_negative = (lambda x: x > 0), (lambda x: x >= 0)
        allowed = {
            "learning_rate": ("is above 0", above_0),
            "final_learning_rate": ("is 0 or more", not_negative),
            "beta1": ("are [0, 1)", lambda x: 0 <= x < 1),
            "beta2": ("are [0, 1)", lambda x: 0 <= x < 1),
            "epsilon": ("is above 0", above_0),
            "weight_decay": ("is 0 or more", not_negative),
            "clip_norm": ("is above 0", above_0),
            "stop_grad_norm": ("is 0 (none) or more", not_negative),
        }
        for name, (words, fits) in allowed.items():
            if not fits(value := getattr(self, name)):
                raise UserError(f"optimizer.{name}: got {value}, allowed {words}")


def make_learning_rate(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Learning rate by training step.

    Raises:
        ValueError: warm-up and cosine do not fit into the run.
    """
    constant_steps = num_steps - config.warmup_steps - config.cosine_steps
    if min(config.warmup_steps, config.cosine_steps, constant_steps) < 0:
        raise UserError(
            f"optimizer.warmup_steps + optimizer.cosine_steps: got {config.warmup_steps} + "
            f"{config.cosine_steps}, allowed is at most num_steps = {num_steps}"
        )
    peak, final = config.learning_rate, config.final_learning_rate
    cosine = optax.cosine_decay_schedule(peak, max(config.cosine_steps, 1), alpha=final / peak)
    warmup = optax.linear_schedule(0.0, peak, max(config.warmup_steps, 1))
    boundaries = [config.warmup_steps, config.warmup_steps + constant_steps]
    return optax.join_schedules([warmup, optax.constant_schedule(peak), cosine], boundaries)


def make_optimizer(
    config: OptimizerConfig, num_steps: int, ema_decay: float = 0.0
) -> optax.GradientTransformation:
    """Clips by global norm, then AdamW; biases and norms do not decay.

    With `ema_decay` its state holds a running average of the parameters too: see
    `averaged_params`.
    """
    transforms = [
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            make_learning_rate(config, num_steps),
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decays,
        ),
    ]
    return optax.chain(*transforms, *([average_params(ema_decay)] if ema_decay else []))


class AverageState(NamedTuple):
    """The name of the first field is how a reader of checkpoints finds it."""

    average: Any
    num_updates: jax.Array


def average_params(decay: float) -> optax.GradientTransformation:
    """Last in a chain: averages the parameters that the updates make, and changes nothing.

    The first steps count for more, or the average would remember the random weights:
    the decay of update n (from 0) is at most (1 + n) / (10 + n).
    """

    def init(params: Any) -> AverageState:
        return AverageState(jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: AverageState, params: Any) -> tuple[Any, AverageState]:
        now = jnp.minimum(decay, (1 + state.num_updates) / (10 + state.num_updates))
        new_params = optax.apply_updates(params, updates)
        average = optax.incremental_update(new_params, state.average, 1 - now)
        return updates, AverageState(average, state.num_updates + 1)

    return optax.GradientTransformation(init, update)


def averaged_params(params: Any, opt_state: Any) -> Any:
    """The running average where the optimizer keeps one, else the parameters themselves."""
    averages = [part.average for part in opt_state if isinstance(part, AverageState)]
    return averages[0] if averages else params


def decays(params: Any) -> Any:
    """True for weights that decay: all but biases, norms and other one-dimensional ones.

    The name decides, since stacking layers gives a bias a second axis. Leaves may be boxed with
    their logical axes: then the box is the last part of their path, and no dictionary key.
    """

    def leaf_decays(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        return names[-1] not in ("bias", "scale") and leaf.ndim > 1

    return jax.tree_util.tree_map_with_path(leaf_decays, params)
