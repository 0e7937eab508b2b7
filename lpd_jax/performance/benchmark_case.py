"""What is timed: one model, one task, one batch size."""

import dataclasses
from typing import NamedTuple

import numpy as np

from lpd_jax.generation.request import Request, make_request
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.performance.benchmark_model import BenchmarkModel
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.weights.directory_config import DirectoryConfig

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
class BenchmarkCase:
    """What varies from row to row of a table.

    model: the published name of a transformer, or a model directory.
    tokenizer: the published name of the one beside it; "" is none, or that of the directory.
    num_steps, order, num_segments: None is the family's.
    guidance_scale: 1 is off.
    dtype: what the transformer computes in, and on GPUs and TPUs the tokenizer's decoder.
    remat, attention, unroll_layers: of the training tasks, see `ComputeConfig`.
    num_repeats: how often it is timed.

    Raises:
        UserError: names the choice that is not allowed.
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
    unroll_layers: bool = False
    num_repeats: int = 5

    def __post_init__(self):
        if self.task not in TASKS:
            raise UserError(f"tasks: got {shown(self.task)}, allowed are {', '.join(TASKS)}")
        for name in ("batch_size", "num_repeats", "num_segments"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        self.compute  # noqa: B018 - its own checks

    @property
    def what(self) -> str:
        """The models that the task runs, for the reader."""
        if self.task in ("tokens", *TRAINING) or not self.tokenizer:
            return self.model
        return self.tokenizer if self.task in TOKENIZING else f"{self.model}, {self.tokenizer}"

    @property
    def compute(self) -> ComputeConfig:
        names = ("dtype", "remat", "attention", "unroll_layers")
        return ComputeConfig(**{name: getattr(self, name) for name in names})


class Inputs(NamedTuple):
    """What a task is given; both implementations get the same."""

    request: Request  # labels, orders, schedule, guidance
    tokens_BN: np.ndarray  # int32, raster order
    images_BHWC: np.ndarray | None  # uint8; None without a tokenizer


def make_inputs(case: BenchmarkCase, model: BenchmarkModel) -> Inputs:
    """Random labels, tokens and pictures; schedule and orders as they are asked for.

    Raises:
        UserError: a choice that the model does not know, or a tokenizer that is not there.
    """
    transformer, count = model.transformer, case.batch_size
    rng = np.random.default_rng(0)
    labels_B = rng.integers(0, transformer.num_classes, min(count, MAX_ORDERS))
    request = make_drawing_request(case, model, labels_B)
    request = request._replace(
        labels=np.resize(request.labels, count),
        order=np.resize(request.order, (count, transformer.num_tokens)),
    )
    shape = count, transformer.num_tokens
    tokens_BN = rng.integers(0, transformer.codebook_size, shape, np.int32)
    if case.task not in ("images", *TOKENIZING):
        return Inputs(request, tokens_BN, None)
    if model.tokenizer is None:
        raise UserError(
            f"tasks: got {shown(case.task)} for {case.model}, allowed is that with a tokenizer only"
        )
    size = tokenizer_of(model.tokenizer).size_of(transformer.grid_size)
    images_BHWC = rng.integers(0, 256, (count, *size, 3), np.uint8)
    return Inputs(request, tokens_BN, images_BHWC)


def make_drawing_request(
    case: BenchmarkCase, model: BenchmarkModel, labels_B: np.ndarray
) -> Request:
    """As the family draws where the case does not say; a directory's own settings do not count."""
    family = transformer_of(model.transformer)
    if case.num_segments is not None:
        family.num_segments(case.num_segments)  # refuses now what it would refuse then
    return make_request(
        DirectoryConfig(model.transformer, generation=family.defaults(), where=case.model),
        labels_B,
        num_steps=case.num_steps,
        order=case.order,
        guidance_scale=case.guidance_scale,
    )
