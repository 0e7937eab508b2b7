"""A tokenizer of clips and its discriminator in one step, by the losses of Open-MAGVIT2."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.images import to_model_range
from lpd_jax.models.adversarial_loss import (
    AdversarialConfig,
    discriminator_loss,
    generator_loss,
    init_lecam,
    lecam_penalty,
    update_lecam,
)
from lpd_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.video_tokenizer import VideoConfig
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.tokenizer_step import TokenizerRule
from lpd_jax.training.tokenizer_updates import tokenizer_updates
from tests import tiny

MODEL = VideoConfig(
    base_channels=8,
    channel_multipliers=(1, 1),
    res_blocks=(0, 0),
    middle_blocks=0,
    time_strides=(2,),
    fsq_levels=(5, 5),
    norm_groups=4,
)
FAMILY = tokenizer_of(MODEL)
PARAMS = tiny.random_params(MODEL)
CLIPS = np.random.default_rng(0).integers(256, size=(2, 3, 8, 8, 3)).astype(np.uint8)
PUBLISHED = AdversarialConfig(
    weight=0.3,
    start_step=0,
    generator_loss="non_saturating_by_picture",
    lecam_weight=0.05,
    lecam_decay=0.9,
)
OF_CLIPS = DiscriminatorConfig(channels=4, num_layers=1, frames=True)
LOOKS_WEIGHT = 0.5


def looks(images_BHWC, others_BHWC):
    """A distance of pictures that no other loss has."""
    chex.assert_rank([images_BHWC, others_BHWC], 4)
    edges = [jnp.diff(x, axis=2) for x in (images_BHWC, others_BHWC)]
    return jnp.square(edges[0] - edges[1]).mean((1, 2, 3))


PARTS = FAMILY.loss_parts(
    TokenizerLossConfig(l1_weight=1.0, l2_weight=0.0, perceptual_weight=LOOKS_WEIGHT),
    perceptual=looks,
)


def rule_of(adversarial=PUBLISHED, discriminator=OF_CLIPS):
    """Plain gradient descent, so that an update is the gradient."""
    sgd = optax.sgd(1.0)
    return TokenizerRule(FAMILY, sgd, adversarial, discriminator, sgd)


@functools.cache
def first_step(rule):
    state = rule.init(PARAMS, jax.random.key(2))
    step = functools.partial(rule.step, PARTS)
    step = jax.jit(step, compiler_options=tiny.QUICK_TO_COMPILE)
    return state, *step(state, {"images": CLIPS}, jax.random.key(1))


def moved(before, after):
    return jax.tree.map(lambda a, b: a - b, before, after)


def test_gradients_reach_every_tensor_of_both():
    before, after, metrics = first_step(rule_of())
    for name, grads in (
        ("tokenizer", moved(before.params, after.params)),
        ("discriminator", moved(before.adversary.params, after.adversary.params)),
    ):
        for path, grad in jax.tree_util.tree_leaves_with_path(grads):
            assert np.abs(grad).max() > 0, (name, jax.tree_util.keystr(path))
    chex.assert_tree_all_finite(metrics)
    chex.assert_tree_all_finite(after)


def test_both_get_the_gradients_of_their_own_losses():
    """Hinge and LeCAM for one; pixels, looks of frames, a clip's mean logit for the other."""
    before, after, metrics = first_step(rule_of())
    adversary, clips = before.adversary, to_model_range(CLIPS)
    network = PatchDiscriminator(OF_CLIPS)

    def look(params, x_BTHWC):
        variables = {"params": params, "batch_stats": adversary.batch_stats}
        return network.apply(variables, x_BTHWC, True, mutable=["batch_stats"])[0]

    def tokenizer_loss(params):
        rebuilt = PARTS.rebuild(params, clips).images_BHWC
        logits_B = look(adversary.params, rebuilt).reshape(len(clips), -1).mean(1)
        frames, wanted = (x.reshape(-1, *x.shape[2:]) for x in (rebuilt, clips))
        own = jnp.abs(rebuilt - clips).mean() + LOOKS_WEIGHT * looks(wanted, frames).mean()
        return own + 0.3 * jax.nn.softplus(-logits_B).mean()

    def critic_loss(params):
        real = look(params, clips)
        drawn = look(params, PARTS.rebuild(PARAMS, clips).images_BHWC)
        means = [0.1 * jax.lax.stop_gradient(x.mean()) for x in (real, drawn)]
        lecam = (jax.nn.relu(real - means[1]) ** 2).mean()
        lecam += (jax.nn.relu(means[0] - drawn) ** 2).mean()
        hinge = 0.5 * (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + drawn).mean())
        return 0.3 * (hinge + 0.05 * lecam)

    @functools.partial(jax.jit, compiler_options=tiny.QUICK_TO_COMPILE)
    def written_out():
        both = (tokenizer_loss, PARAMS), (critic_loss, adversary.params)
        return [jax.value_and_grad(loss)(params) for loss, params in both]

    (loss, grads), (critic, critic_grads) = written_out()
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator_loss"], critic, rtol=1e-5)
    ours = moved(before.params, after.params)
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(grads))
    chex.assert_trees_all_close(ours, grads, rtol=0, atol=1e-5 * scale)
    ours = moved(before.adversary.params, after.adversary.params)
    chex.assert_trees_all_close(ours, critic_grads, rtol=1e-3, atol=1e-6)


def test_the_losses_of_a_clip_are_those_of_a_picture_of_all_its_patches():
    logits = [jax.random.normal(jax.random.key(i), (2, 3, 4, 5, 1)) for i in range(2)]
    flat = [x.reshape(2, -1, 1, 1) for x in logits]
    for loss in ("hinge", "non_saturating", "non_saturating_by_picture"):
        np.testing.assert_allclose(
            discriminator_loss(loss, *logits), discriminator_loss(loss, *flat), rtol=1e-5
        )
        np.testing.assert_allclose(
            generator_loss(loss, logits[1]), generator_loss(loss, flat[1]), rtol=1e-5
        )
    states = [update_lecam(init_lecam(), *pair, 0.9) for pair in (logits, flat)]
    chex.assert_trees_all_close(*states, rtol=1e-5)
    penalties = [lecam_penalty(states[0], *pair) for pair in (logits, flat)]
    np.testing.assert_allclose(*penalties, rtol=1e-5)
    assert penalties[0] > 0.1


def test_without_frames_each_frame_is_judged_as_a_picture():
    config = DiscriminatorConfig(channels=4, num_layers=1)
    network, clips = PatchDiscriminator(config), to_model_range(CLIPS)
    frames = clips.reshape(-1, *clips.shape[2:])
    variables = network.init(jax.random.key(0), frames, False)
    logits = network.apply(variables, clips, True, mutable=["batch_stats"])[0]
    alone = network.apply(variables, frames, True, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(logits.reshape(alone.shape), alone, atol=1e-6)
    assert logits.shape[:2] == clips.shape[:2]


@pytest.mark.parametrize(
    ("model", "data", "fields", "message"),
    [
        (
            tiny.VQ,
            DataConfig(image_size=16),
            {"frames": True},
            "discriminator.frames: got True, allowed for a tokenizer of pictures is False",
        ),
        (
            tiny.VQ,
            DataConfig(image_size=16),
            {},
            "discriminator.num_layers: got 3, allowed for 16x16 pixels are fewer",
        ),
        (
            MODEL,
            DataConfig(dataset="moving_avatars"),
            {"num_layers": 6},
            "discriminator.num_layers: got 6, allowed for 17x64x64 pixels are fewer",
        ),
    ],
)
def test_discriminators_that_cannot_look_are_refused(model, data, fields, message):
    config = TrainConfig(
        num_steps=1,
        batch_size=1,
        data=data,
        adversarial=AdversarialConfig(),
        discriminator=DiscriminatorConfig(**fields),
    )
    with pytest.raises(ValueError, match=f"^{message}"):
        tokenizer_updates(tokenizer_of(model), config)
    without = dataclasses.replace(config, adversarial=AdversarialConfig(weight=0.0))
    tokenizer_updates(tokenizer_of(model), without)


def test_the_tokenizers_part_may_have_a_loss_of_its_own():
    assert AdversarialConfig(loss="hinge").fooling_loss == "hinge"
    assert PUBLISHED.fooling_loss == "non_saturating_by_picture"
    with pytest.raises(ValueError, match=r"^adversarial.generator_loss: got 'soft', allowed are h"):
        AdversarialConfig(generator_loss="soft")
