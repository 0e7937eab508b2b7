"""What is timed: one model, one task, one batch size."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.generation.request import Request, make_request
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.performance.benchmark_model import Subject
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.compute_config import ComputeConfig

# What each task computes.
TASKS = {
    "tokens": "labels to tokens, the transformer alone",
    "images": "labels to pictures, transformer and tokenizer in one program",
    "decode": "tokens to pictures",
    "encode": "pictures to tokens",
    "gradient": "the training loss, forward and backward",
    "train": "a whole training step: forward, backward, clipping, AdamW",
}
DRAWING, TOKENIZING, TRAINING = ("tokens", "images"), ("decode", "encode"), ("gradient", "train")
MAX_ORDERS = 8  # different ones in a batch: time does not depend on them, but making them takes it


@dataclasses.dataclass(frozen=True)
class Case:
    """What varies from row to row of a table.

    model: the published name of a transformer, or a model directory.
    tokenizer: the published name of the one beside it; "" is none, or that of the directory.
    num_steps: None is the published number; PAR has but one.
    order: None is the family's.
    guidance_scale: 1 is off.
    dtype: what the transformer computes in; the tokenizer stays in float32.
    num_segments: of LPD's schedule, see `decode_tokens`; None is the default.
    remat, attention: of the training tasks, see `ComputeConfig`.
    num_repeats: how often it is timed.
    """

    model: str
    task: str = "tokens"
    tokenizer: str = ""
    batch_size: int = 1
    num_steps: int | None = None
    order: str | None = None
    guidance_scale: float = 1.0
    dtype: str = "float32"
    num_segments: int | None = None
    remat: str = "none"
    attention: str = "auto"
    num_repeats: int = 5

    def __post_init__(self):
        if self.task not in TASKS:
            raise UserError(f"tasks: got {self.task!r}, allowed are {', '.join(TASKS)}")
        for name in ("batch_size", "num_repeats", "num_segments"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}: got {value}, allowed is at least 1")
        self.compute  # noqa: B018 - its own checks

    @property
    def what(self) -> str:
        """The models that the task runs, for the reader."""
        if self.task in ("tokens", *TRAINING) or not self.tokenizer:
            return self.model
        return self.tokenizer if self.task in TOKENIZING else f"{self.model}, {self.tokenizer}"

    @property
    def compute(self) -> ComputeConfig:
        return ComputeConfig(dtype=self.dtype, remat=self.remat, attention=self.attention)


class Inputs(NamedTuple):
    """What a task is given; both implementations get the same."""

    request: Request  # labels, orders, schedule, guidance
    tokens_BN: np.ndarray  # int32, raster order
    images_BHWC: np.ndarray | None  # uint8; None without a tokenizer


def make_inputs(case: Case, subject: Subject) -> Inputs:
    """Random labels, tokens and pictures; schedule and orders as they are asked for.

    Raises:
        ValueError: a choice that the model does not know, or a tokenizer that is not there.
    """
    model, count = subject.transformer, case.batch_size
    rng = np.random.default_rng(0)
    config: dict[str, Any] = {"transformer": config_to_dict(model)}
    request = make_request(
        config,
        rng.integers(0, model.num_classes, min(count, MAX_ORDERS)).tolist(),
        num_steps=case.num_steps if isinstance(model, LPDConfig) else None,
        order=case.order if isinstance(model, LPDConfig) else None,
        guidance_scale=case.guidance_scale,
        where=case.model,
    )
    request = request._replace(
        labels=np.resize(request.labels, count),
        order=np.resize(request.order, (count, model.num_tokens)),
    )
    tokens_BN = rng.integers(0, model.codebook_size, (count, model.num_tokens), np.int32)
    if case.task not in ("images", *TOKENIZING):
        return Inputs(request, tokens_BN, None)
    if subject.tokenizer is None:
        raise UserError(
            f"tasks: got {case.task!r} for {case.model}, allowed is that with a tokenizer only"
        )
    height, width = (side * subject.tokenizer.downsample_factor for side in model.grid_size)
    images_BHWC = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    return Inputs(request, tokens_BN, images_BHWC)
