"""How likely a model finds real pictures in the contexts that each order and schedule would make.

Cheaper than drawing, and told apart sooner: a few hundred pictures say by a hundredth of a nat
which contexts a model has learned.

Dimension key: B images, N tokens.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.models.family import transformer_of
from lpd_jax.models.token_loss import token_nats
from lpd_jax.models.transformer_family import TeacherForced

ORDERS = ("random", "halton", "locality", "raster")
STEPS = (256, 64, 20, 12, 8)


def context_nats(
    model: Any,
    params: Any,
    tokens_BN: np.ndarray,
    labels_B: np.ndarray,
    orders: tuple[str, ...] = ORDERS,
    steps: tuple[int, ...] = STEPS,
    batch_size: int = 50,
) -> dict[tuple[str, int], float]:
    """Mean nats a token of real pictures, for each order and number of steps.

    Args:
        model: config of a family that draws in any order.
        params: of the model.
        tokens_BN: int32, raster order; a whole number of batches.
        labels_B: int32 class labels.
        orders: kinds of `make_order`.
        steps: numbers of decoding steps.
        batch_size: pictures of a pass.
    """
    family = transformer_of(model)

    @jax.jit
    def judge(params, tokens_BN, labels_B, order_BN, group_N):
        logits_BNV = family.logits(params, TeacherForced(tokens_BN, labels_B, order_BN, group_N))
        return token_nats(logits_BNV, jnp.take_along_axis(tokens_BN, order_BN, axis=1)).mean()

    nats = {}
    for kind in orders:
        for num_steps in steps:
            schedule = make_schedule(model.num_tokens, num_steps)
            order_BN = family.orders(kind, schedule, len(tokens_BN))
            group_N = schedule.group_of_rank()
            batches = [
                judge(params, tokens_BN[rows], labels_B[rows], order_BN[rows], group_N)
                for rows in np.split(np.arange(len(tokens_BN)), len(tokens_BN) // batch_size)
            ]
            nats[kind, num_steps] = float(np.mean(jax.device_get(batches)))
    return nats
