"""Models beside each other: each draws as it was trained to, and all are judged alike.

Letters: B images, N tokens per image.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.generation.request import Request
from lpd_jax.models.family import TransformerConfig, count_params
from lpd_jax.models.lpd import LPD
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.studies.dependency import nats

BATCH_SIZE = 100  # of likelihoods


def describe_model(model: TransformerConfig, request: Request, order: str) -> dict[str, Any]:
    """What tells one model of a study from another: plain values, ready for JSON."""
    row = {
        "method": "LPD",
        "parameters": count_params(model),
        "num_steps": request.schedule.num_steps,
        "most_at_once": max(request.schedule.group_sizes),
        "order": order,
        "first_tokens": "-",
        "inside_a_group": "full",
    }
    if isinstance(model, PARConfig):
        n = model.num_parallel
        row["method"] = "LlamaGen" if model.regions == n == 1 else "PAR"
        row["first_tokens"] = "one by one" if model.sequential_start else "at once"
        row["inside_a_group"] = model.group_attention if n > 1 else "-"
        if n == 1:
            row["first_tokens"] = "-"
    return row


def nats_per_token(
    model: TransformerConfig,
    params: Mapping[str, Any],
    tokens_BN: np.ndarray,
    request: Request,
) -> float:
    """Mean negative log-likelihood of real tokens, drawn as the request would draw them.

    Tokens of one step count as independent given those before: that is how they are drawn, and
    what drawing them at once costs shows here.

    Args:
        model: its config.
        params: its weights.
        tokens_BN: int32, raster order.
        request: labels `[B]`, orders `[B, N]` and the schedule.
    """
    nats_B = likelihood_function(model, request)
    total = 0.0
    for start in range(0, len(tokens_BN), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        batch = (tokens_BN[rows], request.labels[rows], request.order[rows])
        total += float(np.sum(nats_B(params, *map(jnp.asarray, batch))))
    return total / len(tokens_BN)


def likelihood_function(model: TransformerConfig, request: Request) -> Callable[..., jax.Array]:
    """(params, tokens_BN, labels_B, order_BN) -> nats a token `[B]`, teacher-forced."""
    group_N = jnp.asarray(request.schedule.group_of_rank())

    def logits_of(params, tokens_BN, labels_B, order_BN) -> Any:
        if isinstance(model, PARConfig):
            return PAR(model).apply({"params": params}, tokens_BN, labels_B)
        return LPD(model).apply({"params": params}, tokens_BN, labels_B, order_BN, group_N)

    @jax.jit
    def judge(params, tokens_BN, labels_B, order_BN):
        logits_BNV = logits_of(params, tokens_BN, labels_B, order_BN)
        return nats(logits_BNV, jnp.take_along_axis(tokens_BN, order_BN, axis=1)).mean(axis=1)

    return judge
