"""The loss of a VQ tokenizer: reconstruction and codebook terms (LlamaGen, 2406.06525)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.images import to_model_range
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer
from lpd_jax.runtime.config_fields import check_types

ENTROPY_LATENTS = 1024


@dataclasses.dataclass(frozen=True)
class TokenizerLossConfig:
    """Weights of the tokenizer's losses (LlamaGen: l2 1, commitment 0.25, entropy 0)."""

    l2_weight: float = 1.0
    l1_weight: float = 0.0
    codebook_weight: float = 1.0
    commitment_weight: float = 0.25
    entropy_weight: float = 0.0
    entropy_temperature: float = 0.01

    def __post_init__(self):
        check_types(self, "tokenizer_loss")


def make_vq_loss(model: VQConfig, weights: TokenizerLossConfig):
    """Loss of a VQ tokenizer over `{"images": uint8 [B, H, W, 3]}`."""
    tokenizer = VQTokenizer(model)

    def loss_function(params: Any, batch: dict, key: jax.Array):
        del key
        images_BHWC = to_model_range(batch["images"])
        outputs: Any = tokenizer.apply({"params": params}, images_BHWC)
        reconstructed_BHWC, latents_BHWE, quantized_BHWE, tokens_BHW = outputs
        error_BHWC = reconstructed_BHWC - images_BHWC
        l1, l2 = jnp.abs(error_BHWC).mean(), jnp.square(error_BHWC).mean()
        stop = jax.lax.stop_gradient
        codebook = jnp.square(quantized_BHWE - stop(latents_BHWE)).mean()
        commitment = jnp.square(stop(quantized_BHWE) - latents_BHWE).mean()
        loss = weights.l2_weight * l2 + weights.l1_weight * l1
        loss += weights.codebook_weight * codebook + weights.commitment_weight * commitment
        if weights.entropy_weight:
            entropy = codebook_entropy_loss(params, latents_BHWE, weights.entropy_temperature)
            loss += weights.entropy_weight * entropy
        used_V = jnp.zeros(model.codebook_size).at[tokens_BHW.ravel()].set(1.0)
        # Mean squared error in the 8-bit scale of the peak signal-to-noise ratio: range 2.
        psnr = 10.0 * jnp.log10(4.0 / l2)
        return loss, {"l1": l1, "l2": l2, "psnr": psnr, "codes_in_batch": used_V.sum()}

    return loss_function


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
