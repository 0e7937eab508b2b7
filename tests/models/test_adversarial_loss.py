"""Adversarial losses, their start and their weights give the released code's numbers."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.adversarial_loss import (
    AdversarialConfig,
    adaptive_weight,
    adversarial_weight,
    discriminator_loss,
    generator_loss,
    gradient_norm,
    init_lecam,
    lecam_penalty,
    r1_penalty,
    update_lecam,
)
from lpd_jax.models.convolution import plain_convolution
from lpd_jax.models.discriminator import PatchDiscriminator
from lpd_jax.models.perceptual import lpips
from tests import vqgan_golden

# Weights of reconstruction and LPIPS, of the adversarial term, and which reconstruction.
RECIPES = {
    "default": (1.0, 1.0, 0.5, jnp.square, False),
    "adaptive": (1.0, 1.0, 0.5, jnp.square, True),
    "l1_adaptive": (2.0, 0.4, 0.8, jnp.abs, True),
}
START = 100


@pytest.fixture(scope="module")
def golden():
    return vqgan_golden.load()


def close(value, wanted, tolerance):
    """Relative to the largest number that is wanted."""
    scale = max(float(np.abs(wanted).max()), 1e-30)
    np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * scale)


def test_losses_are_those_of_the_released_code(golden):
    real, drawn = (golden[f"patch/train_{name}"] for name in ("real", "fake"))
    for loss, theirs in (("hinge", "hinge"), ("non_saturating", "nonsaturating_intended")):
        close(discriminator_loss(loss, real, drawn), golden[f"loss/d_{theirs}"], 1e-5)
        close(generator_loss(loss, drawn), golden[f"loss/g_{theirs}"], 1e-5)


def test_the_released_slip_is_not_made(golden):
    """Logits as targets: half the loss is a constant of the drawn pictures."""
    real, drawn = (golden[f"patch/train_{name}"] for name in ("real", "fake"))
    released = 0.5 * (jax.nn.softplus(1.0) - real.mean() + np.log(2))
    close(released, golden["loss/d_nonsaturating_asreleased"], 1e-5)
    ours = functools.partial(discriminator_loss, "non_saturating")
    assert abs(float(ours(real, drawn)) - float(released)) > 0.1
    assert np.abs(jax.grad(ours, argnums=1)(real, drawn)).min() > 0


@functools.partial(jax.jit, static_argnames=("name", "config"))
def released_step(params, discriminator, arrays, step, name, config):
    """One call of LlamaGen's loss: (generator, its gradient at the last layer, weight),
    (discriminator, its gradients)."""
    of_pixels, of_lpips, weight, pixel_loss, adaptive = RECIPES[name]
    variables, network = discriminator, PatchDiscriminator(config)

    def judge(disc_params, images):
        variables_now = {**variables, "params": disc_params}
        return network.apply(variables_now, images, train=True, mutable=["batch_stats"])[0]

    def to_images(kernel):
        return plain_convolution(arrays["latent"], kernel, 1, (1, 1)) + arrays["bias"]

    def reconstruction(images):
        pixels = pixel_loss(images - arrays["input"]).mean()
        return of_pixels * pixels + of_lpips * lpips(params, arrays["input"], images).mean()

    def adversarial(images):
        return generator_loss("hinge", judge(variables["params"], images))

    factor = adversarial_weight(AdversarialConfig(weight=weight, start_step=START), step)

    def generator(kernel):
        scale = 1.0
        if adaptive:
            scale = adaptive_weight(to_images, kernel, reconstruction, adversarial)
        images = to_images(kernel)
        return reconstruction(images) + scale * factor * adversarial(images), scale

    def discriminate(disc_params):
        logits = [judge(disc_params, arrays[name]) for name in ("input", "recon")]
        return factor * discriminator_loss("hinge", *logits)

    return (
        jax.value_and_grad(generator, has_aux=True)(arrays["last_layer"]),
        jax.value_and_grad(discriminate)(variables["params"]),
    )


@pytest.mark.parametrize(
    "name",
    ["adaptive", *(pytest.param(x, marks=pytest.mark.slow) for x in RECIPES if x != "adaptive")],
)
def test_whole_losses_and_their_gradients_are_those_of_the_released_code(golden, name):
    config, discriminator = vqgan_golden.discriminator(golden)
    arrays = {key: vqgan_golden.channels_last(golden[key]) for key in ("input", "latent", "recon")}
    arrays["last_layer"] = golden["last_layer"].transpose(2, 3, 1, 0)
    arrays["bias"] = golden["last_bias"][None, None, None]
    params = vqgan_golden.lpips_params(golden)
    for step in (99, 100):
        stored = f"vqloss/{name}/step{step}"
        ((loss, scale), gradient), (disc_loss, disc_gradients) = released_step(
            params, discriminator, arrays, step, name, config
        )
        codebook = golden["vqloss/codebook_terms"].sum()
        close(loss + codebook, golden[f"{stored}/generator"], 1e-5)
        wanted = golden[f"{stored}/grad_last_layer"].transpose(2, 3, 1, 0)
        close(gradient, wanted, 1e-4)
        close(disc_loss, golden[f"{stored}/discriminator"], 1e-5)
        close(gradient_norm(disc_gradients), golden[f"{stored}/disc_grad_norm"], 1e-4)
        if step == START and RECIPES[name][-1]:
            close(scale, golden[f"vqloss/{name}/adaptive_weight"], 1e-4)
    if name == "default":
        kernel = golden["vqloss/disc_grad/main.0.weight"].transpose(2, 3, 1, 0)
        close(disc_gradients["conv_0"]["kernel"], kernel, 1e-4)
        close(disc_gradients["norm_1"]["scale"], golden["vqloss/disc_grad/main.3.weight"], 1e-4)
        close(disc_gradients["conv_4"]["bias"], golden["vqloss/disc_grad/main.11.bias"], 1e-4)


@pytest.mark.parametrize(("suffix", "decay"), [("", 0.999), ("_decay0.9", 0.9)])
def test_lecam_is_that_of_the_released_code(golden, suffix, decay):
    state, rows = init_lecam(), []
    for real, drawn in zip(golden["lecam/real"], golden["lecam/fake"], strict=True):
        state = update_lecam(state, real, drawn, decay)
        penalty = lecam_penalty(state, real, drawn)
        hinge = discriminator_loss("hinge", real, drawn)
        rows.append([state.real, state.drawn, penalty, hinge, hinge + 0.05 * penalty])
    close(np.array(rows), golden[f"lecam/series{suffix}"], 1e-5)
    for argument, kind in enumerate(("real", "fake")):
        gradient = jax.grad(
            lambda *pair: lecam_penalty(state, *pair),
            argnums=argument,  # noqa: B023
        )(golden["lecam/real"][-1], golden["lecam/fake"][-1])
        close(gradient, golden[f"lecam/grad_{kind}_last{suffix}"], 1e-4)
    moved = jax.grad(lambda x: update_lecam(init_lecam(), x, x, decay).real)(jnp.ones(3))
    assert not moved.any()


def test_losses_by_picture_are_those_of_the_video_trainer(golden):
    for i, (real, drawn) in enumerate(zip(golden["lecam/real"], golden["lecam/fake"], strict=True)):
        name = "non_saturating_by_picture"
        close(generator_loss(name, drawn), golden["lecam/g_nonsaturating"][i], 1e-5)
        close(discriminator_loss(name, real, drawn), golden["lecam/d_nonsaturating"][i], 1e-5)


def test_r1_is_half_the_squared_gradient_of_the_mean_logit():
    weights = jnp.array([[1.0, 2.0], [0.0, -3.0]])

    def discriminate(images):  # two patches, linear: gradients are the rows of `weights`
        return images[:, 0] @ weights

    images = jnp.zeros((5, 1, 2))
    wanted = 0.5 * np.square(np.asarray(weights).mean(axis=1)).sum()
    np.testing.assert_allclose(r1_penalty(discriminate, images), wanted, rtol=1e-6)
    slope = jax.grad(lambda w: r1_penalty(lambda x: x[:, 0] @ w, images))(weights)
    np.testing.assert_allclose(slope, np.repeat(weights.mean(1, keepdims=True), 2, 1) / 2)


def test_the_adaptive_weight_is_bounded_and_a_constant():
    kernel = {"a": jnp.ones(2), "b": jnp.ones(())}

    def to_images(last):
        return last["a"] * last["b"]

    def weight(last, slope):
        return adaptive_weight(to_images, last, lambda x: 3 * x.sum(), lambda x: slope * x.sum())

    # Both gradients have the same direction: their norms are as their slopes.
    np.testing.assert_allclose(weight(kernel, 1.5), 2.0, rtol=1e-3)
    assert float(weight(kernel, 0.0)) == 1e4
    chex.assert_trees_all_equal(
        jax.grad(lambda last: weight(last, 1.5))(kernel), jax.tree.map(jnp.zeros_like, kernel)
    )


def test_the_discriminator_counts_from_its_step_on():
    config = AdversarialConfig(weight=0.8, start_step=3)
    weights = jax.jit(jax.vmap(lambda step: adversarial_weight(config, step)))(jnp.arange(1, 6))
    np.testing.assert_array_equal(weights, np.float32([0, 0, 0.8, 0.8, 0.8]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "wasserstein"}, "adversarial.loss: got 'wasserstein', allowed are hinge, non_"),
        ({"start_step": -1}, "adversarial.start_step: got -1, allowed are whole numbers from 0"),
        ({"weight": float("nan")}, "adversarial.weight: got nan, allowed are numbers from 0 to"),
        ({"r1_weight": -2.0}, "adversarial.r1_weight: got -2.0, allowed are numbers from 0 to"),
        ({"lecam_decay": 1.0}, "adversarial.lecam_decay: got 1.0, allowed are numbers from 0 to"),
    ],
)
def test_bad_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        AdversarialConfig(**fields)
