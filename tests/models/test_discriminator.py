"""The discriminators give the released code's numbers; statistics are of the whole batch."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lpd_jax.models.discriminator import (
    BatchNorm,
    DiscriminatorConfig,
    PatchDiscriminator,
    init_discriminator,
)
from lpd_jax.runtime.mesh import MeshConfig, make_mesh
from lpd_jax.weights.from_torch.discriminator import discriminator_from_torch
from tests import vqgan_golden

TOLERANCE = {"rtol": 0, "atol": 1e-5}  # float32 sums in another order
TINY = DiscriminatorConfig(channels=4, num_layers=2)
init = jax.jit(init_discriminator, static_argnums=0)  # a fifth of the time of op by op


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.fixture(scope="module")
def golden():
    return vqgan_golden.load()


def layers(config, variables, images):
    """Outputs of convolutions and norms by name, and of the whole."""
    logits, state = PatchDiscriminator(config).apply(
        variables,
        images,
        train=True,
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=True,
    )
    named = {
        name: value["__call__"][0]
        for name, value in state["intermediates"].items()
        if isinstance(value, dict)
    }
    return logits, named, {"params": variables["params"], "batch_stats": state["batch_stats"]}


def official_layers(named, num_convolutions=5):
    """The same by their number in `main`."""
    numbered = {}
    for i in range(num_convolutions):
        place = max(3 * i - 1, 0)
        numbered[place] = named[f"conv_{i}"]
        if f"norm_{i}" in named:
            numbered[place + 1] = named[f"norm_{i}"]
        if i < num_convolutions - 1:
            last = max(numbered)
            numbered[last + 1] = jax.nn.leaky_relu(numbered[last], 0.2)
    return numbered


def test_every_layer_and_both_modes_are_those_of_the_released_code(golden):
    config, variables = vqgan_golden.discriminator(golden)
    assert count(variables["params"]) == golden["patch/n_params"]
    real, drawn = (vqgan_golden.channels_last(golden[name]) for name in ("input", "recon"))
    network = PatchDiscriminator(config)
    for images, name in ((real, "eval_real"), (drawn, "eval_fake")):
        logits = network.apply(variables, images, train=False)
        wanted = vqgan_golden.channels_last(golden[f"patch/{name}"])
        np.testing.assert_allclose(logits, wanted, **TOLERANCE)
    logits, named, variables = layers(config, variables, real)
    for place, layer in official_layers(named).items():
        name = f"patch/real_layer{place}"
        np.testing.assert_allclose(
            vqgan_golden.sampled(layer, golden, name), golden[name], **TOLERANCE
        )
    wanted = vqgan_golden.channels_last(golden["patch/train_real"])
    np.testing.assert_allclose(logits, wanted, **TOLERANCE)
    logits, _, variables = layers(config, variables, drawn)
    wanted = vqgan_golden.channels_last(golden["patch/train_fake"])
    np.testing.assert_allclose(logits, wanted, **TOLERANCE)
    for i in (1, 2, 3):  # the running variance is the unbiased one
        statistics = variables["batch_stats"][f"norm_{i}"]
        for ours, theirs in (("mean", "running_mean"), ("var", "running_var")):
            wanted = golden[f"patch/after/main.{3 * i}.{theirs}"]
            np.testing.assert_allclose(statistics[ours], wanted, **TOLERANCE)


def test_the_discriminator_of_clips_is_that_of_the_released_code(golden):
    config, variables = vqgan_golden.discriminator(golden, frames=True)
    assert count(variables["params"]) == golden["patch3d/n_params"]
    clips = vqgan_golden.channels_last(golden["patch3d/input"])
    logits, named, variables = layers(config, variables, clips)
    for place, layer in official_layers(named).items():
        name = f"patch3d/layer{place}"
        np.testing.assert_allclose(
            vqgan_golden.sampled(layer, golden, name), golden[name], **TOLERANCE
        )
    wanted = vqgan_golden.channels_last(golden["patch3d/train"])
    np.testing.assert_allclose(logits, wanted, **TOLERANCE)
    logits = PatchDiscriminator(config).apply(variables, clips, train=False)
    wanted = vqgan_golden.channels_last(golden["patch3d/eval_after"])
    np.testing.assert_allclose(logits, wanted, **TOLERANCE)


def test_published_sizes_have_the_published_numbers_of_parameters():
    for config, wanted in (
        (DiscriminatorConfig(), 2_765_633),
        (DiscriminatorConfig(frames=True), 4_665_729),
    ):
        variables = jax.eval_shape(
            lambda key, c=config: init_discriminator(c, key), jax.random.key(0)
        )
        assert count(variables["params"]) == wanted


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (DiscriminatorConfig(4), (64, 48)),
        (DiscriminatorConfig(4, 1), (3, 9, 8)),  # each frame by itself
        (DiscriminatorConfig(4, 2, frames=True), (5, 16, 8)),
        (DiscriminatorConfig(4, 3, frames=True), (1, 8, 8)),
    ],
)
def test_it_says_how_many_patches_it_judges(config, size):
    network, images = PatchDiscriminator(config), jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    init = functools.partial(network.init_with_output, train=False)
    logits, _ = jax.eval_shape(init, jax.random.key(0), images)
    assert logits.shape == (1, *config.patches(size), 1)
    assert min(DiscriminatorConfig().patches((16, 64))) < 1


def test_a_fresh_discriminator_is_drawn_as_published():
    params = init(DiscriminatorConfig(channels=16), jax.random.key(0))["params"]
    kernel, scale = params["conv_3"]["kernel"], params["norm_3"]["scale"]
    assert abs(float(kernel.std()) - 0.02) < 5e-4 and abs(float(kernel.mean())) < 5e-4
    assert abs(float(scale.mean()) - 1) < 0.01 and 0.01 < float(scale.std()) < 0.03
    assert not params["norm_3"]["bias"].any() and not params["conv_4"]["bias"].any()


@pytest.mark.devices(8)
def test_statistics_are_of_the_whole_batch_however_it_is_sharded():
    variables = init(TINY, jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (8, 16, 16, 3), minval=-1)
    images = images * jnp.arange(1, 9)[:, None, None, None] / 8  # no two alike

    @jax.jit
    def judge(variables, images):
        return PatchDiscriminator(TINY).apply(
            variables, images, train=True, mutable=["batch_stats"]
        )

    whole = judge(variables, images)
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    split = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    chex.assert_trees_all_close(judge(variables, jax.device_put(images, split)), whole, atol=1e-6)
    half = judge(variables, images[:4])
    assert np.abs(half[0] - whole[0][:4]).max() > 1e-3


def test_batches_of_one_number_keep_finite_statistics():
    norm, x = BatchNorm(), jnp.ones((1, 1, 1, 2))
    variables = norm.init(jax.random.key(0), x, True)
    assert not variables["batch_stats"]["mean"].any()  # initialising notes nothing
    _, state = norm.apply(variables, x, True, mutable=["batch_stats"])
    chex.assert_tree_all_finite(state)


@pytest.mark.parametrize(
    ("norm", "spectral_norm"),
    [("batch", False), ("group", False), pytest.param("none", True, marks=pytest.mark.slow)],
)
def test_every_norm_learns_to_tell_two_kinds_apart(norm, spectral_norm):
    """Bfloat16 too: the loss falls, logits and statistics are float32."""
    config = DiscriminatorConfig(4, 2, norm, spectral_norm)
    network = PatchDiscriminator(config, jnp.bfloat16)
    variables = init(config, jax.random.key(0))
    noise = jax.random.uniform(jax.random.key(1), (4, 16, 16, 3), minval=-1)
    flat = jnp.broadcast_to(noise.mean((1, 2), keepdims=True), noise.shape)

    @jax.jit
    def step(variables):
        def loss(params):
            states = []
            total = 0.0
            for images, sign in ((noise, 1.0), (flat, -1.0)):
                logits, state = network.apply(
                    {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
                )
                states.append(state.get("batch_stats", {}))
                total += jax.nn.relu(1.0 - sign * logits).mean()
            assert logits.dtype == jnp.float32
            return total, states[0]

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        params = jax.tree.map(lambda p, g: p - 0.02 * jnp.sign(g), variables["params"], gradients)
        return {"params": params, "batch_stats": statistics}, value

    values = []
    for _ in range(4):
        variables, value = step(variables)
        values.append(float(value))
    assert values[-1] < 0.9 * values[0], values
    chex.assert_tree_all_finite(variables)
    kept = bool(variables["batch_stats"])
    assert kept == (norm == "batch" or spectral_norm)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


@pytest.mark.slow
def test_spectral_norm_bounds_what_a_convolution_does():
    """Ten times the kernel gives the same logits, once the singular values are found."""
    config = DiscriminatorConfig(4, 2, "none", spectral_norm=True)
    network, images = PatchDiscriminator(config), jnp.ones((1, 16, 16, 3))
    variables = init(config, jax.random.key(0))
    large = jax.tree.map(lambda leaf: 10 * leaf, variables["params"])  # biases are 0

    def settled(params):
        state = variables["batch_stats"]
        for _ in range(3):
            logits, updated = network.apply(
                {"params": params, "batch_stats": state},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            state = updated["batch_stats"]
        return logits

    first, second = settled(variables["params"]), settled(large)
    assert np.abs(first).max() > 1e-3
    np.testing.assert_allclose(first, second, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "layer"}, "discriminator.norm: got 'layer', allowed are batch, group, none"),
        ({"channels": 0}, "discriminator.channels: got 0, allowed are whole numbers from 1"),
        ({"num_layers": 7}, "discriminator.num_layers: got 7, allowed are whole .* from 1 to 6"),
    ],
)
def test_bad_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DiscriminatorConfig(**fields)


def test_weights_of_another_discriminator_are_named(golden):
    weights = vqgan_golden.state_dict(golden, "PatchGAN")
    del weights["main.3.running_var"]
    with pytest.raises(ValueError, match="missing main.3.running_var"):
        discriminator_from_torch(weights, DiscriminatorConfig(channels=16))
    with pytest.raises(ValueError, match="discriminator.norm: got 'group', allowed in converting"):
        discriminator_from_torch(weights, DiscriminatorConfig(channels=16, norm="group"))
