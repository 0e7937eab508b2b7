"""Dropout whose random numbers cost next to nothing.

JAX's own are made so that nobody can predict them, which takes long where each layer of a training
step draws a hundred million. A mask only has to look random: here each number is a hash of its
place and of two random words.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """As `nn.Dropout`: sets a share of the numbers to zero, and divides the others by the rest.

    rate: of the numbers that become zero, from 0 on and below 1.
    """

    rate: float

    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Of the shape and dtype of `x`; with the rng named "dropout", or unchanged."""
        if deterministic or self.rate == 0:
            return x
        return drop(self.rate, x, jax.random.bits(self.make_rng("dropout"), (2,)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def drop(rate: float, x: jax.Array, words_2: jax.Array) -> jax.Array:
    """Dropout by two random words, uint32."""
    kept = hashed_places(x.shape, words_2) >= jnp.uint32(rate * 2**32)
    return jax.lax.select(kept, x / (1 - rate), jnp.zeros_like(x))


def keep_words(rate: float, x: jax.Array, words_2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For the backward pass, which makes the same mask again rather than read it."""
    return drop(rate, x, words_2), words_2


def drop_gradient(rate: float, words_2: jax.Array, slope: jax.Array) -> tuple[jax.Array, None]:
    return drop(rate, slope, words_2), None


drop.defvjp(keep_words, drop_gradient)


def hashed_places(shape: tuple[int, ...], words_2: jax.Array) -> jax.Array:
    """A uint32 for each place of an array `[B, ...]`, as if drawn at random.

    By its place, so that a mask is the same however the array is cut over devices. The first axis
    is hashed apart: places are counted in 32 bits, and a batch may have more.
    """
    rest = (1, *shape[1:])
    place = jnp.zeros(rest, jnp.uint32)
    for axis in range(1, len(shape)):
        place = place * jnp.uint32(shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, rest, axis)
    row_B = mixed(jax.lax.iota(jnp.uint32, shape[0]) + words_2[0])
    return mixed(mixed(place + words_2[1]) ^ row_B.reshape(-1, *(1,) * len(rest[1:])))


def mixed(x: jax.Array) -> jax.Array:
    """A uint32 for a uint32, each bit of it by all of its bits.

    Two rounds of multiply and shift; the constants are Chris Wellons' lowbias32 (public domain).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
