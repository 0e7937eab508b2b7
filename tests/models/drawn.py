"""Tokens that a model has drawn, beside what its teacher-forced pass says of them."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.family import transformer_of
from lpd_jax.models.transformer_family import TeacherForced


class Drawn(NamedTuple):
    """Of B images: ranked tokens `[B, N]`, and logits `[B, N, V]` from the cache and without."""

    ranked_BN: jax.Array
    logits_BNV: jax.Array
    forced_BNV: jax.Array


def draw_greedily(config: Any, params: Any, order_BN: np.ndarray, labels_B: np.ndarray) -> Drawn:
    """Draws by the family's own schedule, unguided."""
    family = transformer_of(config)
    schedule = family.schedule()
    ranked_BN, logits_BNV = generate_ranked_tokens(
        config,
        params,
        labels_B,
        order_BN,
        image_keys(0, 0, len(labels_B)),
        schedule=schedule,
        sampling=Sampling.make(temperature=0),
        guidance=Guidance.make(),
        keep_logits=True,
    )
    tokens_BN = np.zeros_like(ranked_BN)
    np.put_along_axis(tokens_BN, order_BN, np.asarray(ranked_BN), axis=1)
    inputs = TeacherForced(tokens_BN, labels_B, order_BN, schedule.group_of_rank())
    return Drawn(ranked_BN, logits_BNV, family.logits(params, inputs))
