"""A share of the orders that a model learns from are those that it will draw in.

Random orders teach every context. The locality-aware order meets a kind of context that random
ones hardly ever make: a closed patch, and asking next to it.

Dimension key: B images, N tokens, G lists of group sizes, O orders of a list.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.order_bank import first_orders
from lpd_jax.decoding.schedule import training_schedules
from lpd_jax.runtime.arguments import check_number

ORDERS_OF_A_LIST = 2048


class OrderMix(NamedTuple):
    """Orders to learn from beside random ones."""

    share: jax.Array | float  # of images, 0 to 1
    steps_G: jax.Array | np.ndarray  # int32: how many steps each list has, by which it is known
    orders_GON: jax.Array | np.ndarray  # int16: locality-aware orders made for that list


def locality_mix(share: float, grid: tuple[int, ...], seed: int = 0) -> OrderMix:
    """`ORDERS_OF_A_LIST` locality-aware orders for each list that training draws.

    Raises:
        UserError: a share outside 0 to 1.
    """
    share = check_number("locality_share", share, 0, 1)
    schedules = training_schedules(math.prod(grid))
    orders = [first_orders("locality", grid, s, ORDERS_OF_A_LIST, seed) for s in schedules]
    steps_G = np.array([schedule.num_steps for schedule in schedules], np.int32)
    return OrderMix(share, steps_G, np.stack(orders).astype(np.int16))


def mix_orders(mix: OrderMix, key: jax.Array, inputs: Any) -> Any:
    """Training inputs with a share of their orders replaced, whatever their lists of sizes."""
    B = len(inputs.order_BN)
    share_key, choice_key = jax.random.split(key)
    steps_B = jnp.broadcast_to(inputs.group_N.max(-1) + 1, (B,))
    list_B = jnp.argmax(steps_B[:, None] == jnp.asarray(mix.steps_G)[None], axis=1)
    choice_B = jax.random.randint(choice_key, (B,), 0, mix.orders_GON.shape[1], jnp.int32)
    near_BN = jnp.asarray(mix.orders_GON)[list_B, choice_B].astype(jnp.int32)
    is_near_B1 = jax.random.bernoulli(share_key, jnp.float32(mix.share), (B, 1))
    return inputs._replace(order_BN=jnp.where(is_near_B1, near_BN, inputs.order_BN))
