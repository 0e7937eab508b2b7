"""From latents to tokens and back: a learned codebook, FSQ's grid of levels, LFQ's signs.

Each quantizer is three functions. `bound` brings latents to where the codes lie; it keeps
gradients. `index` gives the token of the code nearest to a bounded latent, `lookup` the code of a
token.

Dimension key: V codes, E numbers of a code; ... any axes before, as in latents `[B, h, w, E]`.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.runtime.errors import UserError, shown

QUANTIZERS = ("vq", "fsq", "lfq")
FSQ_MARGIN = 1e-3  # how much of the outermost levels' half steps `tanh` leaves out
MAX_CODES = 2**24


@dataclasses.dataclass(frozen=True)
class CosineCodebook:
    """Learned codes; they and the latents are compared at length 1 (LlamaGen, 2406.06525)."""

    codebook_VE: jax.Array

    def bound(self, latents: jax.Array) -> jax.Array:
        return unit_length(latents.astype(jnp.float32))

    def index(self, latents: jax.Array) -> jax.Array:
        """Between unit vectors the nearest is the one with the largest inner product."""
        codebook_VE = unit_length(self.codebook_VE)
        # In full float32 on accelerators too: less would confuse codes that lie close together.
        precision = jax.lax.Precision.HIGHEST
        scores = jnp.einsum("...E,VE->...V", latents, codebook_VE, precision=precision)
        return jnp.argmax(scores, axis=-1).astype(jnp.int32)

    def lookup(self, tokens: jax.Array) -> jax.Array:
        return unit_length(self.codebook_VE[tokens])


@dataclasses.dataclass(frozen=True)
class FSQ:
    """Finite scalar quantization: each number of a latent is rounded to its own few levels.

    Nothing is learned and all codes are in reach (Mentzer et al., 2309.15505). The first level
    turns fastest in the token.
    """

    levels: tuple[int, ...]

    def bound(self, latents: jax.Array) -> jax.Array:
        """Into [-1, 1], so that the codes are `round(bound x half) / half`."""
        levels_E = np.array(self.levels)
        reach_E = (levels_E - 1) * (1 - FSQ_MARGIN) / 2
        offset_E = np.where(levels_E % 2 == 0, 0.5, 0.0)
        # As released: tan, where the inverse of tanh is meant.
        shift_E = np.tan(offset_E / reach_E)
        reach, offset, shift, half = (
            last_axis(x.astype(np.float32), latents.ndim)
            for x in (reach_E, offset_E, shift_E, levels_E // 2)
        )
        return (jnp.tanh(latents.astype(jnp.float32) + shift) * reach - offset) / half

    def index(self, latents: jax.Array) -> jax.Array:
        half, basis = self._halves_and_basis(latents.ndim)
        digits = jnp.round(latents * half.astype(np.float32)).astype(jnp.int32) + half
        return (digits * basis).sum(-1).astype(jnp.int32)

    def lookup(self, tokens: jax.Array) -> jax.Array:
        half, basis = self._halves_and_basis(tokens.ndim + 1)
        levels = last_axis(np.array(self.levels, np.int32), tokens.ndim + 1)
        digits = jnp.asarray(tokens)[..., None] // basis % levels
        return (digits - half).astype(jnp.float32) / half.astype(np.float32)

    def _halves_and_basis(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        halves_E = np.array(self.levels, np.int32) // 2
        basis_E = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
        return last_axis(halves_E, rank), last_axis(basis_E, rank)


@dataclasses.dataclass(frozen=True)
class LFQ:
    """Lookup-free quantization: the signs of a latent are its code (MAGVIT-v2, 2310.05737).

    Codes are of +1 and -1; the first number is the lowest bit of the token.
    """

    code_dim: int

    def bound(self, latents: jax.Array) -> jax.Array:
        return latents.astype(jnp.float32)

    def index(self, latents: jax.Array) -> jax.Array:
        return ((latents > 0) * self._basis(latents.ndim)).sum(-1).astype(jnp.int32)

    def lookup(self, tokens: jax.Array) -> jax.Array:
        bits = jnp.asarray(tokens)[..., None] // self._basis(tokens.ndim + 1) % 2
        return 2.0 * bits.astype(jnp.float32) - 1.0

    def _basis(self, rank: int) -> np.ndarray:
        return last_axis((1 << np.arange(self.code_dim)).astype(np.int32), rank)


def check_quantizer(
    quantizer: str, levels: tuple[int, ...], codebook_size: int, code_dim: int
) -> None:
    """Raises UserError where a quantizer is unknown, or its sizes do not belong together."""
    if quantizer not in QUANTIZERS:
        raise UserError(f"quantizer: got {shown(quantizer)}, allowed are {', '.join(QUANTIZERS)}")
    if (quantizer == "fsq") != bool(levels):
        raise UserError(
            f"fsq_levels: got {shown(levels)} with quantizer {shown(quantizer)}, allowed are "
            "levels with 'fsq' and with it alone"
        )
    if any(level < 2 for level in levels):
        raise UserError(f"fsq_levels: got {shown(levels)}, allowed are at least 2 for each number")
    if quantizer == "vq":
        return
    codes, numbers = math.prod(levels), len(levels)
    if quantizer == "lfq":
        codes, numbers = 2**code_dim, code_dim
    if codes > MAX_CODES:
        raise UserError(f"codebook_size: got {shown(codes)}, allowed are at most {MAX_CODES}")
    if (codebook_size, code_dim) != (codes, numbers):
        raise UserError(
            f"codebook_size, codebook_dim: got {codebook_size}, {code_dim}, allowed with quantizer "
            f"{shown(quantizer)} of these sizes is {codes}, {numbers}"
        )


def last_axis(x_E: np.ndarray, rank: int) -> np.ndarray:
    """A vector as the last of so many axes."""
    return x_E.reshape((1,) * (rank - 1) + x_E.shape)


def unit_length(x: jax.Array) -> jax.Array:
    """Scales vectors along the last axis to length 1; the floor of the norm is torch's, 1e-12."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    # The floor sits inside the root, where a zero vector still has a finite gradient.
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def init_codebook(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Uniform in +-1/V, then unit length, as the reference starts."""
    bound = 1.0 / shape[0]
    return unit_length(jax.random.uniform(key, shape, jnp.float32, -bound, bound))
