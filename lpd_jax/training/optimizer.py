"""AdamW or Muon with clipping, and the warm-up, constant, cosine rate (LPD, section 4.1)."""

import dataclasses
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from lpd_jax.runtime.arguments import check_choice
from lpd_jax.runtime.config_fields import check_types, later_field
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.skip_rule import skip_large

OPTIMIZERS = ("adamw", "muon")
MUON_STEP = 0.2  # root mean square of a Muon update before the rate: about that of Adam's
REST = -1  # of `cosine_steps` in a config file: from the warm-up to the end; see `from_data`


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """`name` is "adamw", as published, or "muon": orthogonal updates for the blocks' matrices.

    The rate warms up, stays, and falls to `final_learning_rate` over the last steps.

    A gradient longer than `clip_norm` is shortened; one longer than `stop_grad_norm` ends the run
    (0: none does). A step is left out where norms sum to `skip_norm_sum` (0: none is); see
    `skip_rule`.
    Muon takes AdamW's rate and decay (arXiv 2502.16982); its momentum is 0.95, and `beta1`, `beta2`
    and `epsilon` are of the Adam that moves all but the matrices.
    """

    name: str = later_field("adamw")
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
    skip_norm_sum: float = later_field(0.0)

    def __post_init__(self):
        check_types(self, "optimizer")
        check_choice("optimizer.name", self.name, OPTIMIZERS)
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
            "skip_norm_sum": ("is 0 (none) or more", not_negative),
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
    """Clips by global norm, then AdamW or Muon; biases and norms do not decay."""
    rate = make_learning_rate(config, num_steps)
    optimizer = (adamw if config.name == "adamw" else muon_for_blocks)(config, rate)
    if config.skip_norm_sum:
        optimizer = skip_large(optimizer, config.skip_norm_sum)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def adamw(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    return optax.adamw(
        rate,
        b1=config.beta1,
        b2=config.beta2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=decays,
    )


def muon_for_blocks(config: OptimizerConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon for the matrices of the stacked blocks; Nesterov's Adam, without decay, for the rest."""
    return muon(
        rate,
        adam_b1=config.beta1,
        adam_b2=config.beta2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        consistent_rms=MUON_STEP,
        muon_weight_dimension_numbers=matrices_of_blocks,
    )


def matrices_of_blocks(params: Any) -> Any:
    """The axes of each stacked matrix `[layers, in, out]`; None for what is no such matrix."""

    def axes(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        is_matrix = names[0] == "blocks" and names[-1] == "kernel" and leaf.ndim == 3
        return MuonDimensionNumbers(1, 2) if is_matrix else None

    return jax.tree_util.tree_map_with_path(axes, params)


def decays(params: Any) -> Any:
    """True for weights that decay: all but biases, norms and other one-dimensional ones.

    The name decides, since stacking layers gives a bias a second axis. Leaves may be boxed with
    their logical axes: then the box is the last part of their path, and no dictionary key.
    """

    def leaf_decays(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        return names[-1] not in ("bias", "scale") and leaf.ndim > 1

    return jax.tree_util.tree_map_with_path(leaf_decays, params)
