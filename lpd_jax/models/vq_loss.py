"""The loss of a VQ tokenizer: reconstruction and codebook terms (LlamaGen, 2406.06525)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.models.quantizers import unit_length
from lpd_jax.models.tokenizer_loss import (
    LossParts,
    Perceptual,
    Rebuilt,
    code_shares,
    picture_comparison,
)
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer
from lpd_jax.runtime.config_fields import check_types
from lpd_jax.runtime.errors import UserError, shown

ENTROPY_LATENTS = 1024  # of a batch, whose codes the entropies are of
RESTART_NOISE = 0.02  # of each number of a unit vector
LEAST_TEMPERATURE = 1e-4  # distances to codes, divided by less, are no numbers of float32


@dataclasses.dataclass(frozen=True)
class TokenizerLossConfig:
    """Weights of the tokenizer's losses (LlamaGen: l2 1, perceptual 1, commitment 0.25, entropy 0).

    A code of a codebook that of late had less than `restart_below` times its even share of the
    latents starts again beside one that has many; 0: none does.
    """

    l2_weight: float = 1.0
    l1_weight: float = 0.0
    perceptual_weight: float = 0.0
    codebook_weight: float = 1.0
    commitment_weight: float = 0.25
    entropy_weight: float = 0.0
    entropy_temperature: float = 0.01
    restart_below: float = 0.0

    def __post_init__(self) -> None:
        check_types(self, "tokenizer_loss")
        for name, value in vars(self).items():
            if value < 0:
                raise UserError(f"tokenizer_loss.{name}: got {shown(value)}, allowed is 0 or more")
        if self.entropy_weight and self.entropy_temperature < LEAST_TEMPERATURE:
            raise UserError(
                f"tokenizer_loss.entropy_temperature: got {shown(self.entropy_temperature)}, "
                f"allowed with an entropy_weight is {LEAST_TEMPERATURE:g} or more"
            )


def vq_loss_parts(
    model: VQConfig,
    weights: TokenizerLossConfig,
    dtype: Any = jnp.float32,
    perceptual: Perceptual | None = None,
) -> LossParts:
    """The parts of the loss.

    Args:
        model: the tokenizer.
        weights: of the terms; those of codes count only for a quantizer that learns any.
        dtype: what encoder and decoder compute in.
        perceptual: how far apart pictures look; None where its weight is 0.
    """
    tokenizer = VQTokenizer(model, dtype)

    def rebuild(params: Any, images_BHWC: jax.Array) -> Rebuilt:
        outputs: Any = tokenizer.apply({"params": params}, images_BHWC)
        rebuilt_BHWC, latents_BHWE, quantized_BHWE, tokens_BHW = outputs
        stop, loss = jax.lax.stop_gradient, jnp.zeros(())
        if model.quantizer == "vq":
            codebook = jnp.square(quantized_BHWE - stop(latents_BHWE)).mean()
            loss += weights.codebook_weight * codebook
        if model.quantizer != "fsq":  # whose latents are never far from a code
            commitment = jnp.square(stop(quantized_BHWE) - latents_BHWE).mean()
            loss += weights.commitment_weight * commitment
        if weights.entropy_weight and model.quantizer == "vq":
            entropy = codebook_entropy_loss(params, latents_BHWE, weights.entropy_temperature)
            loss += weights.entropy_weight * entropy
        if weights.entropy_weight and model.quantizer == "lfq":
            loss += weights.entropy_weight * bit_entropy_loss(latents_BHWE)
        return Rebuilt(rebuilt_BHWC, loss, code_shares(tokens_BHW, model.codebook_size))

    last = "conv_pixels" if model.pixel_channels else "conv_out"
    compare = picture_comparison(weights, perceptual)
    return LossParts(rebuild, compare, ("decoder", last, "kernel"))


def restart_dead_codes(
    params: Any, usage_V: jax.Array, restart_below: float, key: jax.Array
) -> tuple[Any, jax.Array]:
    """Moves codes that are hardly used beside codes that are used much, as if these were split.

    Args:
        params: with a `codebook`, `[V, E]`.
        usage_V: share of the latents that each code had of late.
        restart_below: of the even share 1 / V; a code below it is moved.
        key: of this step.

    Returns:
        Parameters and usage; a code that was moved counts as one of an even share.
    """
    codebook_VE = params["codebook"]
    dead_V = usage_V < restart_below / len(usage_V)
    which_key, noise_key = jax.random.split(key)
    log_usage_V = jnp.log(jnp.maximum(usage_V, 1e-12))
    chosen_V = jax.random.categorical(which_key, log_usage_V, shape=usage_V.shape)
    noise_VE = RESTART_NOISE * jax.random.normal(noise_key, codebook_VE.shape, jnp.float32)
    moved_VE = unit_length(codebook_VE)[chosen_V] + noise_VE
    codebook_VE = jnp.where(dead_V[:, None], moved_VE, codebook_VE)
    usage_V = jnp.where(dead_V, 1.0 / len(usage_V), usage_V)
    return {**params, "codebook": codebook_VE}, usage_V


def codebook_entropy_loss(params: Any, latents_BHWE: jax.Array, temperature: float) -> jax.Array:
    """Small when each latent is sure of its code and all codes are in use.

    Mean entropy of the soft assignments less the entropy of their mean (LlamaGen's
    `entropy_loss_ratio` term).
    """
    latents_TE = latents_BHWE.reshape(-1, latents_BHWE.shape[-1])
    # A thousand latents estimate the mean well, and T x V probabilities are what this costs.
    latents_TE = latents_TE[:: max(1, len(latents_TE) // ENTROPY_LATENTS)]
    codebook_VE = params["codebook"]
    codebook_VE = codebook_VE / jnp.linalg.norm(codebook_VE, axis=-1, keepdims=True)
    # Squared distance of unit vectors is 2 - 2 <a, b>; softmax drops the constant.
    log_probs_TV = jax.nn.log_softmax(2.0 * (latents_TE @ codebook_VE.T) / temperature)
    probs_TV = jnp.exp(log_probs_TV)
    mean_V = probs_TV.mean(0)
    sample_entropy = -(probs_TV * log_probs_TV).sum(-1).mean()
    return sample_entropy + (mean_V * jnp.log(mean_V + 1e-5)).sum()


def bit_entropy_loss(latents_BHWE: jax.Array) -> jax.Array:
    """The same for signs, each number for itself: sure of its sign, and either equally often.

    The probability of +1 is that of the two codes' squared distances, exp(4 z) : 1 (MAGVIT-v2,
    arXiv 2310.05737, section 3.1; its entropies factorise over bits).
    """
    logits_BHWE = 4.0 * latents_BHWE
    probs_BHWE = jax.nn.sigmoid(logits_BHWE)
    unsure = jnp.mean(
        probs_BHWE * jax.nn.softplus(-logits_BHWE)
        + (1.0 - probs_BHWE) * jax.nn.softplus(logits_BHWE)
    )
    mean_E = probs_BHWE.mean((0, 1, 2))
    spread_E = -mean_E * jnp.log(mean_E + 1e-5) - (1.0 - mean_E) * jnp.log(1.0 - mean_E + 1e-5)
    return latents_BHWE.shape[-1] * (unsure - spread_E.mean())
