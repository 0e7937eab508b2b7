"""Models beside each other: each draws as it was trained to, and all are judged alike.

Letters: B images, N tokens per image.
"""

from typing import Any

import numpy as np

from lpd_jax.generation.request import Request
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.studies.likelihoods import Likelihoods

BATCH_SIZE = 100  # of likelihoods


def describe_model(model: TransformerConfig, request: Request) -> dict[str, Any]:
    """What tells one model of a study from another: plain values, ready for JSON."""
    return {
        "parameters": count_params(model),
        "num_steps": request.schedule.num_steps,
        "most_at_once": max(request.schedule.group_sizes),
        "order": request.generation.order,
        **transformer_of(model).describe(),
    }


def nats_per_token(
    model: TransformerConfig,
    params: Any,
    tokens_BN: np.ndarray,
    request: Request,
    batch_size: int = BATCH_SIZE,
) -> float:
    """Mean negative log-likelihood of real tokens, drawn as the request would draw them.

    Tokens of one step count as independent given those before: that is how they are drawn, and
    what drawing them at once costs shows here.

    Args:
        model: its config.
        params: its weights.
        tokens_BN: int32, raster order.
        request: labels `[B]`, orders `[B, N]` and the schedule.
        batch_size: images at once.
    """
    likelihoods = Likelihoods(model, params, tokens_BN, request.labels, batch_size)
    return float(likelihoods.in_order(request.order, request.schedule, class_given=True).mean())
