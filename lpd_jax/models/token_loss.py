"""The loss of transformers over tokens: cross-entropy, and labels dropped for guidance.

Letters: B images, N tokens of an image in generation order, c tokens of a chunk of them, D width, V
codebook.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def judge_tokens(logits_BNV: jax.Array, targets_BN: jax.Array) -> tuple[jax.Array, dict]:
    """The loss, and the share of tokens that were the likeliest."""
    accuracy = (jnp.argmax(logits_BNV, axis=-1) == targets_BN).mean()
    return cross_entropy(logits_BNV, targets_BN), {"token_accuracy": accuracy}


def judge_in_chunks(
    to_logits: Callable[[Any, jax.Array], jax.Array],
    head: Any,
    read_BND: jax.Array,
    targets_BN: jax.Array,
    chunk: int,
) -> tuple[jax.Array, dict]:
    """`judge_tokens(to_logits(head, read_BND), targets_BN)`, of `chunk` tokens of an image at once.

    So the logits of all never stand in memory together. Gradients are made in the forward pass,
    while those of a chunk are there: none are made twice.

    Args:
        to_logits: (head, read `[B, c, D]`) -> float32 logits `[B, c, V]`; static.
        head: parameters of it.
        read_BND: what the head reads.
        targets_BN: int32.
        chunk: a divisor of N.
    """
    nats, hits = sum_in_chunks(to_logits, chunk, head, read_BND, targets_BN)
    return nats / targets_BN.size, {"token_accuracy": hits / targets_BN.size}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def sum_in_chunks(
    to_logits: Callable, chunk: int, head: Any, read_BND: jax.Array, targets_BN: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Nats of all tokens, and how many of them were the likeliest."""

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, sum_of_chunk(to_logits, head, *part)), None

    zeros = (jnp.zeros(()), jnp.zeros(()))
    return jax.lax.scan(add, zeros, (to_chunks(read_BND, chunk), to_chunks(targets_BN, chunk)))[0]


def sum_and_gradients(
    to_logits: Callable, chunk: int, head: Any, read_BND: jax.Array, targets_BN: jax.Array
) -> tuple[Any, Any]:
    """The sums, and what they pass back of nats: gradients of the head and of what it read."""

    def add(total: Any, part: Any) -> tuple[Any, jax.Array]:
        judge = functools.partial(sum_of_chunk, to_logits)
        gradient = jax.value_and_grad(judge, argnums=(0, 1), has_aux=True)
        sums, (head_grads, read_grads_BcD) = gradient(head, *part)
        return jax.tree.map(jnp.add, total, (sums, head_grads)), read_grads_BcD

    zeros = (jnp.zeros(()), jnp.zeros(())), jax.tree.map(jnp.zeros_like, head)
    parts = to_chunks(read_BND, chunk), to_chunks(targets_BN, chunk)
    (sums, head_grads), read_grads = jax.lax.scan(add, zeros, parts)
    return sums, (head_grads, read_grads.swapaxes(0, 1).reshape(read_BND.shape))


def scale_gradients(
    to_logits: Callable, chunk: int, grads: Any, of_sums: tuple[jax.Array, jax.Array]
) -> tuple[Any, jax.Array, None]:
    """The chain rule; hits have no gradient."""
    del to_logits, chunk
    head_grads, read_grads_BND = jax.tree.map(lambda grad: of_sums[0] * grad, grads)
    return head_grads, read_grads_BND, None


sum_in_chunks.defvjp(sum_and_gradients, scale_gradients)


def sum_of_chunk(
    to_logits: Callable, head: Any, read_BcD: jax.Array, targets_Bc: jax.Array
) -> tuple[jax.Array, jax.Array]:
    logits_BcV = to_logits(head, read_BcD).astype(jnp.float32)
    hits = (jnp.argmax(logits_BcV, axis=-1) == targets_Bc).astype(jnp.float32).sum()
    return token_nats(logits_BcV, targets_Bc).sum(), hits


def to_chunks(x_BN: jax.Array, chunk: int) -> jax.Array:
    """`[B, N, ...]` -> `[N / chunk, B, chunk, ...]`."""
    return x_BN.reshape(len(x_BN), -1, chunk, *x_BN.shape[2:]).swapaxes(0, 1)


def cross_entropy(logits_BNV: jax.Array, targets_BN: jax.Array) -> jax.Array:
    """Mean negative log-likelihood in nats."""
    return token_nats(logits_BNV.astype(jnp.float32), targets_BN).mean()


def token_nats(logits_BNV: jax.Array, tokens_BN: jax.Array) -> jax.Array:
    """Minus log p of each token, float `[B, N]`."""
    log_probs_BNV = jax.nn.log_softmax(logits_BNV, axis=-1)
    return -jnp.take_along_axis(log_probs_BNV, tokens_BN[..., None], axis=-1)[..., 0]


def drop_labels(key: jax.Array, labels_B: jax.Array, rate: float, null_class: int) -> jax.Array:
    """Some labels turn into no class, for classifier-free guidance."""
    return jnp.where(
        jax.random.bernoulli(key, jnp.float32(rate), labels_B.shape), null_class, labels_B
    )


def random_orders(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniformly random generation orders, int32 `[B, N]`."""
    return jnp.argsort(jax.random.uniform(key, shape, jnp.float32), axis=1).astype(jnp.int32)
