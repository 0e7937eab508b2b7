"""Models beside each other: each draws as it was trained to, and all are judged alike.

Letters: B images, N tokens per image.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.generation.request import Request
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.studies.likelihoods import Likelihoods
from lpd_jax.training.utilization import training_flops

BATCH_SIZE = 100  # of likelihoods


class Target(NamedTuple):
    """A model as a study is asked for it: LABEL=NAME@STEPS, of which only NAME must be."""

    label: str  # models of one label, and steps, are one row: trainings from several seeds
    name: str  # model directory, bundled model or workdir of a run
    num_steps: int | None = None  # the model's own


def parse_target(text: str) -> Target:
    """Reads `zipar=runs/llamagen@144`; the label is the last part of the name by default.

    Raises:
        UserError: an empty label or name, or steps that are no number.
    """
    label, equals, place = text.rpartition("=")
    name, at, steps = place.partition("@")
    if not name or (equals and not label):
        raise UserError(
            f"models: got {shown(text)}, allowed are DIR, DIR@STEPS, LABEL=DIR and LABEL=DIR@STEPS"
        )
    return Target(label or Path(name).name, name, parse_whole("models", steps) if at else None)


def describe_model(model: TransformerConfig, request: Request) -> dict[str, Any]:
    """What tells one model of a study from another: plain values, ready for JSON."""
    words = dict(transformer_of(model).describe())
    if rows_overlap(model, request):
        words["method"] += " + ZipAR"
    return {
        "parameters": count_params(model),
        "training_flops": training_flops(model),  # of a picture
        "num_steps": request.schedule.num_steps,
        "most_at_once": max(request.schedule.group_sizes),
        "order": request.generation.order,
        **words,
    }


def rows_overlap(model: TransformerConfig, request: Request) -> bool:
    """Whether a model of one order draws in another schedule than its own: that is ZipAR's."""
    family = transformer_of(model)
    return not family.any_order and request.schedule != family.schedule()


def nats_per_token(
    model: TransformerConfig,
    params: Any,
    tokens_BN: np.ndarray,
    request: Request,
    batch_size: int = BATCH_SIZE,
) -> float | None:
    """Mean negative log-likelihood of real tokens, drawn as the request would draw them.

    Tokens of one step count as independent given those before: that is how they are drawn, and
    what drawing them at once costs shows here. None where rows overlap: no pass of training does.

    Args:
        model: its config.
        params: its weights.
        tokens_BN: int32, raster order.
        request: labels `[B]`, orders `[B, N]` and the schedule.
        batch_size: images at once.
    """
    if rows_overlap(model, request):
        return None
    likelihoods = Likelihoods(model, params, tokens_BN, request.labels, batch_size)
    return float(likelihoods.in_order(request.order, request.schedule, class_given=True).mean())
