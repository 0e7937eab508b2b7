"""The loss of transformers over tokens: cross-entropy, and labels dropped for guidance.

Letters: B images, N tokens of an image in generation order, V codebook.
"""

import jax
import jax.numpy as jnp


def judge_tokens(logits_BNV: jax.Array, targets_BN: jax.Array) -> tuple[jax.Array, dict]:
    """The loss, and the share of tokens that were the likeliest."""
    accuracy = (jnp.argmax(logits_BNV, axis=-1) == targets_BN).mean()
    return cross_entropy(logits_BNV, targets_BN), {"token_accuracy": accuracy}


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
