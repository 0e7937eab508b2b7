"""From a schedule and an order to tokens, in one scan.

A schedule says how many tokens each step writes, an order says which, and sampling and guidance
say how. This room knows no model: it is plain JAX and NumPy.
"""

from lpd_jax.decoding.order import ORDERS, make_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import (
    GroupSchedule,
    cosine_group_sizes,
    make_schedule,
    published_group_sizes,
    training_schedules,
)
from lpd_jax.decoding.wavefront import wavefront_order, wavefront_schedule

__all__ = [
    "ORDERS",
    "GroupSchedule",
    "Guidance",
    "Sampling",
    "cosine_group_sizes",
    "make_order",
    "make_schedule",
    "published_group_sizes",
    "training_schedules",
    "wavefront_order",
    "wavefront_schedule",
]
