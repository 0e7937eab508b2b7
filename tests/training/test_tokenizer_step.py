"""A tokenizer and its discriminator in one step, against the same written out plainly."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.images import to_model_range
from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.quantizers import unit_length
from lpd_jax.models.vq_loss import restart_dead_codes
from lpd_jax.runtime.mesh import MeshConfig, batch_sharding, make_mesh
from lpd_jax.training.loop import train
from lpd_jax.training.tokenizer_step import TokenizerRule
from tests import compilations
from tests.training import toy_tokenizer
from tests.training.toy_tokenizer import PARTS

BATCH = {"images": toy_tokenizer.images(8)}
FAMILY = tokenizer_of(toy_tokenizer.MODEL)
PARAMS = toy_tokenizer.init_boxed(None, jax.random.key(0))
KEY = jax.random.key(1)


def rule_of(norm="none", accumulate_steps=1, **fields) -> TokenizerRule:
    """Plain gradient descent, so that an update is the gradient."""
    return TokenizerRule(
        FAMILY,
        optax.sgd(1.0),
        AdversarialConfig(**{"start_step": 0, "weight": 0.8} | fields),
        DiscriminatorConfig(channels=4, num_layers=1, norm=norm),
        optax.sgd(1.0),
        accumulate_steps=accumulate_steps,
    )


def run(rule, state=None, batch=BATCH):
    state = rule.init(PARAMS, jax.random.key(2)) if state is None else state
    step = jax.jit(lambda state, batch: rule.step(PARTS, state, batch, KEY))
    return state, *step(state, batch)


def written_out(adversary, params, norm, critic_params):
    """The two losses that a hinge makes of them, each with its own share of gradients."""
    network = PatchDiscriminator(DiscriminatorConfig(channels=4, num_layers=1, norm=norm))

    def look(images_BHWC):
        variables = {"params": critic_params, "batch_stats": adversary.batch_stats}
        return network.apply(variables, images_BHWC, True, mutable=["batch_stats"])[0]

    images_BHWC = to_model_range(BATCH["images"])
    rebuilt = PARTS.rebuild(params, images_BHWC)
    own = PARTS.compare(rebuilt.images_BHWC, images_BHWC)[0] + rebuilt.code_loss
    generator = own - 0.8 * look(rebuilt.images_BHWC).mean()
    drawn = look(jax.lax.stop_gradient(rebuilt.images_BHWC))
    real = look(images_BHWC)
    critic = 0.4 * (jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + drawn).mean())
    return generator, critic


@pytest.mark.parametrize("norm", [pytest.param("none", marks=pytest.mark.slow), "batch"])
def test_both_get_the_gradients_of_their_own_losses(norm):
    before, after, metrics = run(rule_of(norm))
    adversary = before.adversary
    for index, name in ((0, "params"), (1, "critic")):
        if name == "params":
            value, grads = jax.value_and_grad(
                lambda p: written_out(adversary, p, norm, adversary.params)[0]
            )(PARAMS)
            moved = jax.tree.map(lambda a, b: a - b, before.params, after.params)
        else:
            value, grads = jax.value_and_grad(lambda p: written_out(adversary, PARAMS, norm, p)[1])(
                adversary.params
            )
            moved = jax.tree.map(lambda a, b: a - b, adversary.params, after.adversary.params)
        chex.assert_trees_all_close(moved, grads, atol=1e-6)
        np.testing.assert_allclose(metrics[("loss", "discriminator_loss")[index]], value, rtol=1e-5)
    assert np.abs(moved["conv_0"]["kernel"]).max() > 1e-5


def test_running_statistics_see_real_pictures_then_rebuilt_ones():
    before, after, _ = run(rule_of("batch"))
    network = PatchDiscriminator(DiscriminatorConfig(channels=4, num_layers=1))
    images_BHWC = to_model_range(BATCH["images"])
    stats = before.adversary.batch_stats
    for x_BHWC in (images_BHWC, PARTS.rebuild(PARAMS, images_BHWC).images_BHWC):
        variables = {"params": before.adversary.params, "batch_stats": stats}
        stats = network.apply(variables, x_BHWC, True, mutable=["batch_stats"])[1]["batch_stats"]
    chex.assert_trees_all_close(after.adversary.batch_stats, stats, atol=1e-6)


def test_before_its_first_step_the_discriminator_neither_counts_nor_moves():
    rule = rule_of("batch", start_step=2, lecam_weight=0.1)
    before, after, metrics = run(rule)
    chex.assert_trees_all_equal(after.adversary.params, before.adversary.params)
    chex.assert_trees_all_equal(after.adversary.batch_stats, before.adversary.batch_stats)
    assert metrics["adversarial_weight"] == metrics["discriminator_loss"] == 0
    alone = dataclasses.replace(
        rule, adversarial=AdversarialConfig(weight=0.0), critic_optimizer=None
    )
    chex.assert_trees_all_close(run(alone)[1].params, after.params, atol=1e-6)
    _, later, metrics = run(rule, after)
    assert metrics["adversarial_weight"] == np.float32(0.8)
    assert later.adversary.lecam.real != 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.adversary, later.adversary)
    assert min(jax.tree.leaves(moved.params)) > 0 and min(jax.tree.leaves(moved.batch_stats)) > 0


@pytest.mark.slow
def test_the_adaptive_weight_makes_both_parts_pull_equally_at_the_last_layer():
    start = PARAMS["decoder"]["conv_out"]["kernel"]
    adaptive, plain, alone = (
        run(rule)[1].params["decoder"]["conv_out"]["kernel"]
        for rule in (rule_of(adaptive=True, weight=1.0), rule_of(weight=1.0), rule_of(start_step=9))
    )
    pixels, critic = np.linalg.norm(start - alone), np.linalg.norm(plain - alone)
    want = pixels * critic / (critic + 1e-4)  # which keeps a critic that says nothing small
    np.testing.assert_allclose(np.linalg.norm(adaptive - alone), want, rtol=1e-3)
    assert want > 10 * critic


def test_a_batch_in_parts_is_the_whole_batch():
    """Where no norm ties the pictures of a batch together."""
    states = [run(rule_of(accumulate_steps=parts))[1:] for parts in (1, 4)]
    chex.assert_trees_all_close(states[0][0], states[1][0], atol=1e-6)
    for name in ("loss", "discriminator_loss", "codes_in_batch", "perplexity"):
        np.testing.assert_allclose(states[0][1][name], states[1][1][name], rtol=1e-5)


@pytest.mark.devices(8)
def test_devices_together_do_what_one_does():
    """The statistics of batch norms are those of the whole batch."""
    rule = rule_of("batch", adaptive=True)
    _, alone, metrics = run(rule)
    mesh = make_mesh(MeshConfig())
    assert mesh.size > 1
    with jax.set_mesh(mesh):
        sharded = jax.device_put(BATCH, batch_sharding(mesh))
        _, together, metrics_together = run(rule, batch=sharded)
    chex.assert_trees_all_close(together, alone, atol=1e-5)
    chex.assert_trees_all_close(metrics_together, metrics, rtol=1e-4, atol=1e-5)


def test_codes_that_are_not_used_start_again_beside_those_that_are():
    usage_V = jnp.array([0.5, 0.0, 0.5, 0.001])
    params = {"codebook": 3.0 * jnp.eye(4), "rest": jnp.ones(2)}
    new, usage_V = restart_dead_codes(params, usage_V, 0.1, jax.random.key(0))
    np.testing.assert_array_equal(new["codebook"][0], params["codebook"][0])
    np.testing.assert_array_equal(new["codebook"][2], params["codebook"][2])
    likeness_VV = unit_length(new["codebook"]) @ unit_length(params["codebook"]).T
    used = jnp.array([0, 2])
    assert min(likeness_VV[1][used].max(), likeness_VV[3][used].max()) > 0.99
    np.testing.assert_allclose(usage_V, [0.5, 0.25, 0.5, 0.25])
    np.testing.assert_array_equal(new["rest"], params["rest"])


@pytest.fixture
def toy(monkeypatch):
    toy_tokenizer.install(monkeypatch)


@pytest.mark.slow
def test_a_resumed_run_is_the_unbroken_one(toy, tmp_path):
    """Bit for bit: both optimizers, statistics, averages, codes; through the first step of two."""
    model, config = toy_tokenizer.MODEL, toy_tokenizer.config
    whole = train(model, config(8), tmp_path / "whole")
    for last in (2, 5, 8):
        parts = train(model, config(last), tmp_path / "parts")
        assert int(parts.step) == last
    chex.assert_trees_all_equal(parts, whole)
    assert whole.adversary.lecam is not None and whole.ema_params is not None
    assert float(whole.code_usage.max()) > 1.5 * float(whole.code_usage.min())


@pytest.mark.slow
def test_a_step_is_compiled_once(toy, tmp_path):
    config = toy_tokenizer.config
    with compilations.counted() as few:
        train(toy_tokenizer.MODEL, config(3), tmp_path / "few")
    with compilations.counted() as more:
        train(toy_tokenizer.MODEL, config(8), tmp_path / "more")
    assert len(more) <= len(few)


def test_codes_that_nobody_learns_cannot_start_again(tmp_path):
    model = dataclasses.replace(
        toy_tokenizer.MODEL, quantizer="lfq", codebook_size=16, codebook_dim=4
    )
    config = toy_tokenizer.config(2, data=DataConfig(image_size=8))
    with pytest.raises(ValueError, match="^tokenizer_loss.restart_below: got 0.05, allowed for a"):
        train(model, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_codes_that_stay_as_they_are_cannot_start_again(tmp_path):
    config = toy_tokenizer.config(2, data=DataConfig(image_size=8), trained_parts=("decoder",))
    with pytest.raises(ValueError, match="^tokenizer_loss.restart_below: got 0.05, allowed where"):
        train(toy_tokenizer.MODEL, config, tmp_path / "run")


def test_parts_that_do_not_learn_stay_as_they_are():
    rule = dataclasses.replace(rule_of(), trained_parts=("codebook",))
    before, after, metrics = run(rule)
    chex.assert_trees_all_equal(after.params["decoder"], before.params["decoder"])
    whole = run(rule_of())[1]
    chex.assert_trees_all_close(after.params["codebook"], whole.params["codebook"], atol=1e-7)
    moved = np.linalg.norm(after.params["codebook"] - before.params["codebook"])
    np.testing.assert_allclose(metrics["grad_norm"], moved, rtol=1e-5)


def test_a_part_that_is_not_there_cannot_learn(tmp_path):
    config = toy_tokenizer.config(2, data=DataConfig(image_size=8), trained_parts=("decode",))
    message = "^trained_parts.decode: got an unknown field, allowed are .*; did you mean 'decoder'"
    with pytest.raises(ValueError, match=message):
        train(toy_tokenizer.MODEL, config, tmp_path / "run")
