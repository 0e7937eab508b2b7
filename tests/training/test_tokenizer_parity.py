"""One step of a tokenizer and its discriminator is one call of LlamaGen's trainer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.convolution import plain_convolution
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.perceptual import lpips
from lpd_jax.models.tokenizer_loss import LossParts, Rebuilt
from lpd_jax.training import tokenizer_step
from lpd_jax.training.tokenizer_step import Adversary, TokenizerRule
from lpd_jax.training.train_step import init_state
from tests import tiny, vqgan_golden

# Weight and kind of the pixels' term, weights of LPIPS and of the discriminator, adaptive or not.
RECIPES = {
    "default": (1.0, jnp.square, 1.0, 0.5, False),
    "l1_adaptive": (2.0, jnp.abs, 0.4, 0.8, True),
}


@pytest.fixture(scope="module")
def golden():
    return vqgan_golden.load()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_step_is_one_call_of_the_released_loss(golden, name, monkeypatch):
    """Plain gradient descent of rate 1: what a step takes away is the gradient."""
    monkeypatch.setattr(tokenizer_step, "to_model_range", lambda x: x)  # stored as floats
    of_pixels, pixel_loss, of_lpips, weight, adaptive = RECIPES[name]
    perceptual = functools.partial(lpips, vqgan_golden.lpips_params(golden))
    latent_BHWC = vqgan_golden.channels_last(golden["latent"])
    bias = golden["last_bias"][None, None, None]
    code_loss = golden["vqloss/codebook_terms"].sum()

    def rebuild(params, images_BHWC):
        del images_BHWC
        images_BHWC = plain_convolution(latent_BHWC, params["last"]["kernel"], 1, (1, 1)) + bias
        return Rebuilt(images_BHWC, jnp.asarray(code_loss), jnp.ones(1))

    def compare(rebuilt_BHWC, images_BHWC):
        pixels = pixel_loss(rebuilt_BHWC - images_BHWC).mean()
        loss = of_pixels * pixels + of_lpips * perceptual(images_BHWC, rebuilt_BHWC).mean()
        return loss, {}

    config, variables = vqgan_golden.discriminator(golden)
    rule = TokenizerRule(
        tokenizer_of(tiny.VQ),
        optax.sgd(1.0),
        AdversarialConfig(weight=weight, start_step=100, adaptive=adaptive),
        config,
        optax.sgd(1.0),
    )
    params = {"last": {"kernel": jnp.asarray(golden["last_layer"].transpose(2, 3, 1, 0))}}
    variables = jax.tree.map(jnp.asarray, variables)
    opt_state = optax.sgd(1.0).init(variables["params"])
    state = init_state(params, optax.sgd(1.0))
    state = state._replace(adversary=Adversary(**variables, opt_state=opt_state))
    parts = LossParts(rebuild, compare, ("last", "kernel"))
    batch = {"images": jnp.asarray(vqgan_golden.channels_last(golden["input"]))}
    step = jax.jit(lambda state: rule.step(parts, state, batch, jax.random.key(0)))
    for finished in (98, 99):  # the trainer counts steps from 1
        before = state._replace(step=jnp.asarray(finished, jnp.int32))
        after, metrics = step(before)
        stored = f"vqloss/{name}/step{finished + 1}"
        np.testing.assert_allclose(metrics["loss"], golden[f"{stored}/generator"], rtol=2e-5)
        np.testing.assert_allclose(
            metrics["discriminator_loss"], golden[f"{stored}/discriminator"], rtol=1e-5
        )
        gradient = before.params["last"]["kernel"] - after.params["last"]["kernel"]
        wanted = golden[f"{stored}/grad_last_layer"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(gradient, wanted, atol=1e-4 * np.abs(wanted).max())
        norm = golden[f"{stored}/disc_grad_norm"]
        np.testing.assert_allclose(metrics["discriminator_grad_norm"], norm, rtol=1e-4)
    if name == "default":
        moved = jax.tree.map(jnp.subtract, before.adversary.params, after.adversary.params)
        kernel = golden["vqloss/disc_grad/main.0.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(moved["conv_0"]["kernel"], kernel, atol=2e-6)
