"""The train step of a config and the shapes it takes, to compile for devices that are not there."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lpd_jax.data.pictures import image_shape
from lpd_jax.models.efficientnet_lite import EfficientNetLite0
from lpd_jax.models.family import is_tokenizer, tokenizer_of, transformer_of
from lpd_jax.models.parameters import init_boxed
from lpd_jax.models.vgg import VGG16
from lpd_jax.runtime.mesh import batch_sharding, state_shardings
from lpd_jax.training.compute_config import loss_options
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.optimizer import make_optimizer
from lpd_jax.training.tokenizer_updates import tokenizer_updates
from lpd_jax.training.train_step import abstract_state
from lpd_jax.training.update_rule import UpdateRule, jit_step, one_optimizer
from lpd_jax.weights import perceptual
from lpd_jax.weights.perceptual import PerceptualConfig, PerceptualLoss, distance_of


class TrainingProgram(NamedTuple):
    """`step.lower(state, batch, key)` is what is compiled."""

    step: Any
    state: Any
    batch: dict[str, jax.ShapeDtypeStruct]


def training_program(
    model: Any, config: TrainConfig, mesh: jax.sharding.Mesh, platform: str
) -> TrainingProgram:
    """Of a transformer or a tokenizer; needs no weights of a frozen network, only their shapes.

    Args:
        model, config, mesh: of the run.
        platform: "tpu" or "gpu", whose kernels are chosen.
    """
    rows = batch_sharding(mesh)

    def of_batch(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((config.batch_size, *shape), dtype, sharding=rows)

    if is_tokenizer(model):
        rule = tokenizer_rule(model, config, mesh)
        batch = {"images": of_batch((*image_shape(config.data), 3), jnp.uint8)}
    else:
        rule = transformer_rule(model, config, platform)
        batch = {"tokens": of_batch((model.num_tokens,), jnp.int32)}
    batch["labels"] = of_batch((), jnp.int32)

    def init(key: jax.Array) -> Any:
        return rule.init(init_boxed(model, key), key)

    key = jax.random.key(0)
    state = abstract_state(init, state_shardings(init, mesh, key), key)
    step = jit_step(rule, jax.tree.map(lambda leaf: leaf.sharding, state))
    return TrainingProgram(step, state, batch)


def transformer_rule(model: Any, config: TrainConfig, platform: str) -> UpdateRule:
    options = loss_options(config.compute, model, config.num_size_lists, platform)
    return one_optimizer(
        transformer_of(model).loss(train=True, **options),
        make_optimizer(config.optimizer, config.num_steps),
        config.compute.accumulate_steps,
        config.ema_decay,
    )


def tokenizer_rule(model: Any, config: TrainConfig, mesh: jax.sharding.Mesh) -> UpdateRule:
    network = None
    if config.tokenizer_loss.perceptual_weight:
        network = frozen_network(config.perceptual, mesh)
    return tokenizer_updates(tokenizer_of(model), config, network)[0]


def frozen_network(config: PerceptualConfig, mesh: jax.sharding.Mesh) -> PerceptualLoss:
    """A perceptual loss of the right shapes, whole on every device."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.P())
    pictures = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)

    def shapes(init: Callable) -> Any:
        return jax.eval_shape(init, jax.random.key(0), pictures)["params"]

    if config.network == perceptual.VGG16:
        taps = jax.eval_shape(VGG16().init_with_output, jax.random.key(0), pictures)[0]
        widths = {f"tap_{i}": jnp.zeros(tap.shape[-1:]) for i, tap in enumerate(taps)}
        params = {"vgg": shapes(VGG16().init), "channel_weights": widths}
    else:
        params = shapes(EfficientNetLite0().init)
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), params
    )
    return PerceptualLoss(params, distance_of(config))
