"""A tokenizer's training loss in its parts, so that a discriminator can judge what lies between.

Letters: B images, h w their token grid, H W pixels, E numbers of a latent, V codes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.images import to_model_range
from lpd_jax.models.transformer_family import LossFunction

# (pictures, other pictures), both float [B, H, W, 3] in [-1, 1] -> distance [B]
Perceptual = Callable[[jax.Array, jax.Array], jax.Array]
CODE_SHARES = "code_shares"


class Rebuilt(NamedTuple):
    """What one pass through a tokenizer gives."""

    images_BHWC: jax.Array  # float, about [-1, 1]
    code_loss: jax.Array  # of the quantizer; a scalar
    shares_V: jax.Array  # share of the tokens that each code has; no gradient


class LossParts(NamedTuple):
    """The loss is `compare(rebuilt pictures, pictures) + code_loss`.

    rebuild: (params, pictures float `[B, H, W, 3]` in [-1, 1]) -> Rebuilt.
    compare: (rebuilt, pictures) -> (loss, metrics).
    last_layer: keys of the kernel that writes pixels, which an adaptive weight looks at.
    """

    rebuild: Callable[[Any, jax.Array], Rebuilt]
    compare: Callable[[jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
    last_layer: tuple[str, ...]


def whole_loss(parts: LossParts) -> LossFunction:
    """The loss over `{"images": uint8 [B, H, W, 3]}`; of metrics one is the vector of shares."""

    def loss_function(params: Any, batch: Any, key: jax.Array):
        del key
        images_BHWC = to_model_range(batch["images"])
        rebuilt = parts.rebuild(params, images_BHWC)
        loss, metrics = parts.compare(rebuilt.images_BHWC, images_BHWC)
        return loss + rebuilt.code_loss, {**metrics, CODE_SHARES: rebuilt.shares_V}

    return loss_function


def picture_comparison(
    weights: Any, perceptual: Perceptual | None
) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]:
    """The `compare` of pixels and of looks, with the `l1_weight` and so on of `weights`.

    Args:
        weights: `tokenizer_loss` of the training config.
        perceptual: how far apart pictures look, and frames of clips; None where its weight is 0.
    """

    def compare(rebuilt_BHWC: jax.Array, images_BHWC: jax.Array):
        error_BHWC = rebuilt_BHWC - images_BHWC
        l1, l2 = jnp.abs(error_BHWC).mean(), jnp.square(error_BHWC).mean()
        loss = weights.l2_weight * l2 + weights.l1_weight * l1
        # Mean squared error in the 8-bit scale of the peak signal-to-noise ratio: range 2.
        metrics = {"l1": l1, "l2": l2, "psnr": 10.0 * jnp.log10(4.0 / l2)}
        if perceptual is not None:
            frames = [x.reshape(-1, *x.shape[-3:]) for x in (images_BHWC, rebuilt_BHWC)]
            metrics["perceptual"] = perceptual(*frames).mean()
            loss += weights.perceptual_weight * metrics["perceptual"]
        return loss, metrics

    return compare


def code_shares(tokens: jax.Array, num_codes: int) -> jax.Array:
    """Share of the tokens that each code has, `[V]`."""
    return jnp.zeros(num_codes).at[tokens.ravel()].add(1.0 / tokens.size)


def batch_codes(shares_V: jax.Array) -> dict[str, jax.Array]:
    """How many codes a batch has, and how many equally frequent ones would be as hard to guess."""
    return {"codes_in_batch": (shares_V > 0).sum(), "perplexity": perplexity(shares_V)}


def perplexity(shares_V: jax.Array) -> jax.Array:
    """exp of the entropy of codes of these shares."""
    return jnp.exp(-jnp.where(shares_V > 0, shares_V * jnp.log(shares_V + 1e-30), 0.0).sum())


def summarize_codes(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The shares of codes over a whole data set as three numbers: in use, dead, perplexity."""
    rest = {name: value for name, value in metrics.items() if name != CODE_SHARES}
    if CODE_SHARES not in metrics:
        return rest
    shares_V = np.asarray(metrics[CODE_SHARES])
    return rest | {
        "codebook_usage": float((shares_V > 0).mean()),
        "dead_codes": float((shares_V == 0).sum()),
        "perplexity": float(perplexity(jnp.asarray(shares_V))),
    }
