"""How logits become tokens: guidance, temperature, top-k, top-p, and one draw per token.

What changes shapes or work is static (part of the pytree structure); numbers are traced, so a new
temperature or guidance scale does not recompile. Letters: B images, Q query rows, V codebook.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.runtime.arguments import check_choice, check_number, check_whole

GUIDANCE_SCHEDULES = ("linear", "constant", "linear_before", "linear_after")
LEAST_TEMPERATURE = 1e-7  # a lower one is argmax: it parts any float32 logits beyond all noise
LEAST_TOP_P = 1e-30  # less is 0 in float32, and would keep no token
# Larger ones are slips, and lead float32 to infinity.
LARGEST_TEMPERATURE = LARGEST_SCALE = 1_000_000


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("temperature", "top_p"),
    meta_fields=("greedy", "top_k", "nucleus"),
)
@dataclasses.dataclass(frozen=True)
class Sampling:
    """A checked choice of sampling; build it with `make`."""

    temperature: float | jax.Array
    top_p: float | jax.Array
    greedy: bool
    top_k: int
    nucleus: bool

    @classmethod
    def make(cls, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> "Sampling":
        """Checks and builds.

        Args:
            temperature: divides the logits; 0 takes the most likely token.
            top_k: keeps the k most likely tokens, and ties with the k-th; 0 keeps all.
            top_p: keeps the smallest set of the most likely tokens whose probability reaches it,
                and ties with its last; 1 keeps all.

        Raises:
            UserError: names the argument, its value and what is allowed.
        """
        temperature = check_number("temperature", temperature, 0, LARGEST_TEMPERATURE)
        top_k = check_whole("top_k", top_k, 0)
        top_p = check_number("top_p", top_p, 0, 1, ends="most")
        if temperature < LEAST_TEMPERATURE:  # what is kept does not matter: one program for all
            return cls(1.0, 1.0, True, 0, False)
        return cls(temperature, max(top_p, LEAST_TOP_P), False, top_k, top_p < 1)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("scale",), meta_fields=("schedule", "active")
)
@dataclasses.dataclass(frozen=True)
class Guidance:
    """A checked choice of classifier-free guidance; build it with `make`. Scale 1 is off.

    schedule: the scale is "constant", or grows from 1 up with the share of tokens that are drawn:
        with each token ("linear", LPD), or alike for all tokens of a group, as many as are drawn
        before it ("linear_before", RandAR) or after it ("linear_after", ARPG).
    """

    scale: float | jax.Array
    schedule: str
    active: bool

    @classmethod
    def make(cls, scale: float = 1.0, schedule: str = "linear") -> "Guidance":
        """Checks and builds; raises UserError naming the argument and what is allowed."""
        scale = check_number("guidance_scale", scale, 0, LARGEST_SCALE, note=" (1 is off)")
        schedule = check_choice("guidance_schedule", schedule, GUIDANCE_SCHEDULES)
        return cls(scale, schedule, scale != 1)

    def scale_of_rank(self, rank_Q: jax.Array, num_tokens: int, query_end: Any = 0) -> jax.Array:
        """Scale for each generation rank of a group: constant, or linear, 1 + (s - 1) k / N.

        Args:
            rank_Q: of a group, its first rank first; of any tokens where the group does not matter.
            num_tokens: N.
            query_end: slot behind the group's last; one more than the tokens drawn by then.
        """
        if self.schedule == "constant":
            return jnp.full(rank_Q.shape, self.scale, jnp.float32)
        if self.schedule == "linear_before":
            rank_Q = jnp.full_like(rank_Q, rank_Q[0])
        if self.schedule == "linear_after":
            rank_Q = jnp.full_like(rank_Q, query_end - 1)
        return 1.0 + (self.scale - 1.0) * rank_Q.astype(jnp.float32) / num_tokens


def apply_guidance(cond_BQV: jax.Array, uncond_BQV: jax.Array, scale_Q: jax.Array) -> jax.Array:
    """Classifier-free guidance; a scale of 1 gives the conditional logits, but for rounding."""
    return uncond_BQV + scale_Q[None, :, None] * (cond_BQV - uncond_BQV)


def sample_tokens(
    keys_B: jax.Array, rank_Q: jax.Array, logits_BQV: jax.Array, sampling: Sampling
) -> jax.Array:
    """Draws tokens int32 `[B, Q]`.

    The noise of a token derives from its image's key and its rank alone, so a picture depends
    neither on the batch it is drawn in nor on how a schedule is padded.
    """
    return sample_with(noise_keys(keys_B, rank_Q), logits_BQV, sampling)


def noise_keys(keys_B: jax.Array, rank_Q: jax.Array) -> jax.Array:
    """The keys `[B, Q]` of the noise of tokens, by their images and ranks."""
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys_B, rank_Q)


def sample_with(keys_BQ: jax.Array, logits_BQV: jax.Array, sampling: Sampling) -> jax.Array:
    """Draws tokens int32 `[B, Q]` with keys of `noise_keys`."""
    logits_BQV = logits_BQV.astype(jnp.float32)
    if sampling.greedy:
        return jnp.argmax(logits_BQV, axis=-1).astype(jnp.int32)
    logits_BQV = filter_logits(logits_BQV / sampling.temperature, sampling)
    V = logits_BQV.shape[-1]

    def noise(key: jax.Array) -> jax.Array:
        return jax.random.gumbel(key, (V,), jnp.float32, mode="low")

    with jax.threefry_partitionable(True):  # whatever JAX is configured to, as all that is here
        noise_BQV = jax.vmap(jax.vmap(noise))(keys_BQ)
    return jnp.argmax(logits_BQV + noise_BQV, axis=-1).astype(jnp.int32)


def filter_logits(logits_BQV: jax.Array, sampling: Sampling) -> jax.Array:
    """Top-k, then top-p among what is left; removed logits are -inf."""
    if sampling.top_k:
        k = min(sampling.top_k, logits_BQV.shape[-1])
        kth_BQ1 = jax.lax.top_k(logits_BQV, k)[0][..., -1:]
        logits_BQV = jnp.where(logits_BQV < kth_BQ1, -jnp.inf, logits_BQV)
    if sampling.nucleus:
        logits_BQV = keep_nucleus(logits_BQV, sampling.top_p)
    return logits_BQV


def keep_nucleus(logits_BQV: jax.Array, top_p: float | jax.Array) -> jax.Array:
    """Removes all but the smallest set of tokens whose probability reaches `top_p`.

    A token stays where the tokens before it, the likeliest first, do not reach `top_p` yet. Of
    probabilities 0.5 0.3 0.2 these have 0.0 0.5 0.8: one stays for 0.5, two for 0.6. So do ties
    with the last that stays.
    """
    sorted_BQV = jnp.sort(logits_BQV, axis=-1, descending=True)
    probs_BQV = jax.nn.softmax(sorted_BQV, axis=-1)
    mass_before_BQV = jnp.pad(jnp.cumsum(probs_BQV, axis=-1)[..., :-1], ((0, 0), (0, 0), (1, 0)))
    kept_BQV = jnp.where(mass_before_BQV < top_p, sorted_BQV, jnp.inf)
    return jnp.where(logits_BQV < kept_BQV.min(-1, keepdims=True), -jnp.inf, logits_BQV)
