"""What a training run is made of: one frozen dataclass, read from a file in configs/."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lpd_jax.data.batches import LARGEST_BATCH
from lpd_jax.data.data_config import DataConfig
from lpd_jax.evaluation.fid import FIDConfig
from lpd_jax.evaluation.while_training import EvaluationConfig
from lpd_jax.models.adversarial_loss import LARGEST_STEP, AdversarialConfig
from lpd_jax.models.discriminator import DiscriminatorConfig
from lpd_jax.models.family import config_from_dict, config_to_dict, is_tokenizer
from lpd_jax.models.settings import MAX_SEED, Generation
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.runtime.arguments import check_choice
from lpd_jax.runtime.config_fields import (
    check_known,
    check_sizes,
    check_types,
    from_mapping,
    in_section,
    later_field,
    to_mapping,
)
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.mesh import MeshConfig
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.optimizer import OptimizerConfig
from lpd_jax.weights.perceptual import PerceptualConfig


@dataclasses.dataclass(frozen=True)
class EveryConfig:
    """How often things happen, in training steps; 0 is only at the end."""

    log: int = 50
    evaluate: int = 500
    save: int = 500
    sample: int = 500
    fid: int = 0
    evaluate_pictures: int = 0

    def __post_init__(self):
        check_types(self, "every")
        for name, steps in vars(self).items():
            if steps < 0:
                raise UserError(
                    f"every.{name}: got {steps}, allowed is 0 (at the end only) or more"
                )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One run.

    `tokenizer` makes the transformer's tokens, `init_from` holds weights that a fresh run starts
    from instead of random ones (a resumed run ignores it): each a model directory, the workdir of
    a run, or the name of a bundled model. With `init_from` the class table is made anew where the
    number of classes is another, or where `new_classes` says that they are other classes.
    `generation` is how a transformer draws, also in the model directory made of it.
    `num_size_lists` lists of group sizes are drawn for a pass over a batch, each for an equal part
    of it; LPD's published runs have one a GPU.
    A share `locality_share` of LPD's training orders are locality-aware; the others are random, as
    published.
    Of a tokenizer only `trained_parts` learn, top names of its parameters such as `decoder`; () is
    all. It learns by `tokenizer_loss`, whose perceptual term is that of the frozen network in
    `perceptual`, and by a `discriminator`, where the weight of `adversarial` is above 0.
    With `ema_decay`, 0.999 say, a running average of the parameters is what is validated, drawn
    with and exported; 0 keeps none. The newest `keep_checkpoints` stay, and for good those of
    every `keep_every` steps (0: none).
    """

    num_steps: int
    batch_size: int
    seed: int = 0
    tokenizer: str = ""
    init_from: str = ""
    new_classes: bool = False
    num_size_lists: int = 1
    locality_share: float = later_field(0.0)
    trained_parts: tuple[str, ...] = ()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    compute: ComputeConfig = ComputeConfig()
    every: EveryConfig = EveryConfig()
    tokenizer_loss: TokenizerLossConfig = TokenizerLossConfig()
    perceptual: PerceptualConfig = PerceptualConfig()
    adversarial: AdversarialConfig = AdversarialConfig(weight=0.0)
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    generation: Generation = Generation()
    fid: FIDConfig = FIDConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    keep_checkpoints: int = 2
    keep_every: int = 0
    ema_decay: float = 0.0
    wandb_project: str = ""

    def __post_init__(self):
        check_types(self)


MOST = {
    "num_steps": LARGEST_STEP,
    "batch_size": LARGEST_BATCH,
    "num_size_lists": LARGEST_BATCH,
    "keep_checkpoints": LARGEST_STEP,
}


def read_config(mapping: Mapping[str, Any]) -> tuple[Any, TrainConfig]:
    """Splits a config file's mapping into the model and the run, both checked.

    Raises:
        UserError: an unknown, missing or ill-typed field, by its full name.
    """
    if not isinstance(mapping, Mapping):
        raise UserError(f"config: got {shown(mapping)}, allowed is a mapping of fields")
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in mapping:
        check_known(name, ["model", *names])
    if "model" not in mapping:
        raise UserError("model: missing; it has no default")
    if not isinstance(mapping["model"], Mapping):
        raise UserError(f"model: got {shown(mapping['model'])}, allowed is a mapping of fields")
    with in_section("model", mapping["model"]):
        model = config_from_dict(mapping["model"])
    rest = {name: value for name, value in mapping.items() if name != "model"}
    config = from_mapping(TrainConfig, rest)
    check_sizes(config, MOST)
    if config.keep_every < 0:
        raise UserError(f"keep_every: got {config.keep_every}, allowed is 0 (none) or more")
    if not 0 <= config.seed <= MAX_SEED:
        raise UserError(f"seed: got {config.seed}, allowed are 0 to {MAX_SEED}")
    if not 0 <= config.ema_decay < 1:
        raise UserError(f"ema_decay: got {config.ema_decay}, allowed are [0, 1); 0 is none")
    return model, config


OF_TOKENIZERS: tuple[str, ...] = ("trained_parts", "tokenizer_loss", "adversarial", "discriminator")
OF_TRANSFORMERS = ("num_size_lists", "locality_share")


def check_read(model: Any, config: TrainConfig) -> None:
    """Raises UserError for a field that this kind of model does not look at, and that was set.

    Not of `read_config`: what an earlier run was given, and passed over, is still read.
    """
    kind, others = "transformer", OF_TOKENIZERS
    if is_tokenizer(model):
        kind, others = "tokenizer", OF_TRANSFORMERS
        check_choice("optimizer.name", config.optimizer.name, ("adamw",))  # Muon is for blocks
    unset = TrainConfig(num_steps=1, batch_size=1)
    for name in others:
        if getattr(config, name) != getattr(unset, name):
            raise UserError(f"{name}: was set, allowed for a {kind} is to leave it out")


def config_to_json(model: Any, config: TrainConfig) -> dict[str, Any]:
    """The mapping that `read_config` reads back, as plain JSON types."""
    return {"model": config_to_dict(model), **to_mapping(config)}


def check_clips(config: TrainConfig, are_clips: bool) -> None:
    """Raises UserError where clips are to be judged by what knows pictures alone."""
    if config.fid.num_images and are_clips:
        raise UserError(
            f"fid.num_images: got {config.fid.num_images}, allowed where images are clips is 0; "
            "evaluation.num_images judges them"
        )
