"""How a tokenizer learns, from its config: losses, frozen networks, optimizers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.data.pictures import image_shape
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.tokenizer_family import TokenizerFamily
from lpd_jax.models.tokenizer_loss import LossParts, whole_loss
from lpd_jax.models.transformer_family import LossFunction
from lpd_jax.runtime.config_fields import check_known
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.optimizer import make_optimizer
from lpd_jax.training.tokenizer_step import TokenizerRule
from lpd_jax.training.train_step import TrainState
from lpd_jax.training.update_rule import UpdateRule
from lpd_jax.weights.perceptual import PerceptualLoss, load_perceptual

CODES = "codebook"  # the parameter of tokenizers that learn their codes


def tokenizer_updates(
    family: TokenizerFamily, config: TrainConfig, perceptual: PerceptualLoss | None = None
) -> tuple[UpdateRule, LossFunction]:
    """The rule that a tokenizer learns by, and the loss that it is validated by.

    The latter is the reconstruction's and the codebook's: a discriminator is no fixed measure. It
    computes in float32 whatever the steps compute in.

    Args:
        family: of the tokenizer.
        config: of the run.
        perceptual: the frozen network; None loads the config's, if it counts.

    Raises:
        UserError: options that do not fit the tokenizer; weights of a network that are missing.
    """
    check_parts(family, config)
    check_restart(family, config)
    check_discriminator(family, config)
    if config.tokenizer_loss.perceptual_weight and perceptual is None:
        perceptual = load_perceptual(config.perceptual)
    rule = make_rule(family, config)
    make_parts = functools.partial(loss_parts, family, config, perceptual)
    dtype, products = jnp.dtype(config.compute.dtype), config.compute.products

    def step(weights: Any, state: TrainState, batch: Any, key: jax.Array) -> Any:
        return rule.step(make_parts(weights, dtype, products), state, batch, key)

    def judge(weights: Any, params: Any, batch: Any, key: jax.Array) -> Any:
        return whole_loss(make_parts(weights, jnp.float32))(params, batch, key)

    weights = perceptual and perceptual.params
    bind = jax.tree_util.Partial
    return UpdateRule(rule.init, bind(step, weights)), bind(judge, weights)


def check_restart(family: TokenizerFamily, config: TrainConfig) -> None:
    """Raises UserError where codes are to start again that nobody learns."""
    restart_below = config.tokenizer_loss.restart_below
    if restart_below and not family.learns_codes:
        raise UserError(
            f"tokenizer_loss.restart_below: got {shown(restart_below)}, allowed for "
            "a tokenizer that learns no codes is 0"
        )
    if restart_below and config.trained_parts and CODES not in config.trained_parts:
        raise UserError(
            f"tokenizer_loss.restart_below: got {shown(restart_below)}, allowed where "
            f"trained_parts has no {shown(CODES)} is 0"
        )


def check_parts(family: TokenizerFamily, config: TrainConfig) -> None:
    """Raises UserError for a part to train that the tokenizer does not have."""
    known = list(abstract_params(family.config))
    for part in config.trained_parts:
        check_known(part, known, "trained_parts")


def check_discriminator(family: TokenizerFamily, config: TrainConfig) -> None:
    """Raises UserError for a discriminator that cannot look at the images."""
    if not config.adversarial.weight:
        return
    frames, shape = config.discriminator.frames, image_shape(config.data)
    if frames and len(family.axes) < 3:
        raise UserError(
            "discriminator.frames: got True, allowed for a tokenizer of pictures is False"
        )
    if min(config.discriminator.patches(shape)) < 1:
        raise UserError(
            f"discriminator.num_layers: got {config.discriminator.num_layers}, allowed for "
            f"{'x'.join(map(str, shape))} pixels are fewer: it leaves no patch to judge"
        )


def make_rule(family: TokenizerFamily, config: TrainConfig) -> TokenizerRule:
    """Both optimizers are the config's, as published."""
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    return TokenizerRule(
        family,
        optimizer,
        config.adversarial,
        config.discriminator,
        optimizer if config.adversarial.weight else None,
        jnp.dtype(config.compute.dtype),
        config.compute.accumulate_steps,
        config.ema_decay,
        config.tokenizer_loss.restart_below,
        config.trained_parts,
    )


def loss_parts(
    family: TokenizerFamily,
    config: TrainConfig,
    perceptual: PerceptualLoss | None,
    weights: Any,
    dtype: Any,
    products: str = "plain",
) -> LossParts:
    """The parts of the loss, with the weights of the frozen network."""
    distance = None
    if perceptual is not None:
        distance = functools.partial(perceptual.distance, weights, dtype=dtype)
    return family.loss_parts(config.tokenizer_loss, dtype, distance, products)
