"""The losses: VQ reconstruction and codebook terms, the cross-entropy of tokens."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.schedule import training_schedules
from lpd_jax.images import to_model_range
from lpd_jax.models.family import TransformerConfig
from lpd_jax.models.lpd import LPD, LPDConfig
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import PARConfig, par_order
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer

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


def make_tokenizer_loss(model: VQConfig, weights: TokenizerLossConfig):
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


def make_token_loss(model: TransformerConfig, train: bool, **options: Any):
    """The loss of a transformer's family; see `make_lpd_loss` and `make_par_loss`."""
    if isinstance(model, PARConfig):
        return make_par_loss(model, train, **options)
    return make_lpd_loss(model, train, **options)


def make_lpd_loss(model: LPDConfig, train: bool, **options: Any):
    """Mean cross-entropy over the N queries of `{"tokens": [B, N], "labels": [B]}` (section 3.1).

    Each image gets a fresh random order, each step one of the published group-size lists; in
    validation labels stay and dropout is off.

    Args:
        model: sizes.
        train: drop labels and activations.
        options: of the `LPD` module: dtype, attention, remat.
    """
    lpd = LPD(model, **options)
    groups = [schedule.group_of_rank() for schedule in training_schedules(model.num_tokens)]
    group_GN = np.stack(groups).astype(np.int32)

    def loss_function(params: Any, batch: dict, key: jax.Array):
        order_key, sizes_key, label_key, dropout_key = jax.random.split(key, 4)
        tokens_BN, labels_B = batch["tokens"].astype(jnp.int32), batch["labels"]
        order_BN = random_orders(order_key, tokens_BN.shape)
        group_N = jnp.asarray(group_GN)[jax.random.randint(sizes_key, (), 0, len(group_GN))]
        if train:
            labels_B = drop_labels(label_key, labels_B, model)
        inputs = (tokens_BN, labels_B, order_BN, group_N, train)
        logits_BNV: Any = lpd.apply({"params": params}, *inputs, rngs={"dropout": dropout_key})
        return judge_tokens(logits_BNV, jnp.take_along_axis(tokens_BN, order_BN, axis=1))

    return loss_function


def make_par_loss(model: PARConfig, train: bool, **options: Any):
    """Mean cross-entropy over the N tokens of `{"tokens": [B, N], "labels": [B]}`.

    Args:
        model: sizes.
        train: drop labels and activations.
        options: of the `PAR` module: dtype, attention, remat.
    """
    par, order_N = PAR(model, **options), par_order(model)

    def loss_function(params: Any, batch: dict, key: jax.Array):
        label_key, dropout_key = jax.random.split(key)
        tokens_BN, labels_B = batch["tokens"].astype(jnp.int32), batch["labels"]
        if train:
            labels_B = drop_labels(label_key, labels_B, model)
        rngs = {"dropout": dropout_key}
        logits_BNV: Any = par.apply({"params": params}, tokens_BN, labels_B, train, rngs=rngs)
        return judge_tokens(logits_BNV, tokens_BN[:, order_N])

    return loss_function


def drop_labels(key: jax.Array, labels_B: jax.Array, model: TransformerConfig) -> jax.Array:
    """Some labels turn into no class, for classifier-free guidance."""
    dropped_B = jax.random.bernoulli(key, model.label_drop_rate, labels_B.shape)
    return jnp.where(dropped_B, model.null_class, labels_B)


def judge_tokens(logits_BNV: jax.Array, targets_BN: jax.Array) -> tuple[jax.Array, dict]:
    """The loss, and the share of tokens that were the likeliest."""
    accuracy = (jnp.argmax(logits_BNV, axis=-1) == targets_BN).mean()
    return cross_entropy(logits_BNV, targets_BN), {"token_accuracy": accuracy}


def cross_entropy(logits_BNV: jax.Array, targets_BN: jax.Array) -> jax.Array:
    """Mean negative log-likelihood in nats."""
    log_probs_BNV = jax.nn.log_softmax(logits_BNV.astype(jnp.float32), axis=-1)
    return -jnp.take_along_axis(log_probs_BNV, targets_BN[..., None], axis=-1).mean()


def random_orders(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Uniformly random generation orders, int32 `[B, N]`."""
    return jnp.argsort(jax.random.uniform(key, shape), axis=1).astype(jnp.int32)
