"""Random keys of one kind, whatever JAX's own default is: a seed draws the same everywhere."""

from typing import Any

import jax

KIND = "threefry2x32"


def random_key(seed: int) -> jax.Array:
    """A key of a seed; JAX_DEFAULT_PRNG_IMPL does not change what it draws."""
    return jax.random.key(seed, impl=KIND)


def wrap_random_keys(data: Any) -> jax.Array:
    """The keys that `jax.random.key_data` took apart."""
    return jax.random.wrap_key_data(data, impl=KIND)
