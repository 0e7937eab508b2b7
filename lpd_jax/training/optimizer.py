"""AdamW with clipping, and the warm-up, constant, cosine learning rate (LPD, section 4.1)."""

import dataclasses
from typing import Any

import jax
import optax

from lpd_jax.runtime.config_fields import check_types
from lpd_jax.runtime.errors import UserError

REST = -1  # of `cosine_steps` in a config file: from the warm-up to the end; see `from_data`


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
        check_types(self, "optimizer")
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
        UserError: warm-up and cosine do not fit into the run.
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


def make_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
    """Clips by global norm, then AdamW; biases and norms do not decay."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            make_learning_rate(config, num_steps),
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decays,
        ),
    )


def decays(params: Any) -> Any:
    """True for weights that decay: all but biases, norms and other one-dimensional ones.

    The name decides, since stacking layers gives a bias a second axis. Leaves may be boxed with
    their logical axes: then the box is the last part of their path, and no dictionary key.
    """

    def leaf_decays(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        return names[-1] not in ("bias", "scale") and leaf.ndim > 1

    return jax.tree_util.tree_map_with_path(leaf_decays, params)
