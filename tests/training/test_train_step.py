"""One update is one update, on one device or on eight."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import init_boxed
from lpd_jax.runtime.mesh import (
    MeshConfig,
    batch_sharding,
    init_sharded,
    make_mesh,
    state_shardings,
)
from lpd_jax.training.optimizer import OptimizerConfig, make_optimizer
from lpd_jax.training.train_step import abstract_state, init_state, train_step
from lpd_jax.weights.checkpoint import Checkpoints
from tests import tiny
from tests.training import toy

OPTIMIZER = make_optimizer(OptimizerConfig(learning_rate=1e-2), num_steps=3)
MESHES = {
    "one": (MeshConfig(), 1),
    "two": (MeshConfig(fsdp=2), 2),
    "eight": (MeshConfig(-1, 2, 2), 8),
}


def init(key):
    return init_state(init_boxed(tiny.LPD, key), OPTIMIZER)


def mesh_of(name):
    config, count = MESHES[name]
    return make_mesh(config, count)


def run_steps(state, mesh, steps):
    """Trains on the batches of these steps; the state afterwards, and the losses."""
    step_function = functools.partial(
        train_step, loss_function=transformer_of(tiny.LPD).loss(train=True), optimizer=OPTIMIZER
    )
    run_step = jax.jit(step_function, compiler_options=toy.QUICK_COMPILE)
    losses = []
    for step in steps:
        rng = np.random.default_rng(step)
        batch = {
            "tokens": rng.integers(tiny.LPD.codebook_size, size=(8, tiny.LPD.num_tokens)),
            "labels": rng.integers(tiny.LPD.num_classes, size=8),
        }
        batch = {name: array.astype(np.int32) for name, array in batch.items()}
        with jax.set_mesh(mesh):
            state, metrics = run_step(
                state, jax.device_put(batch, batch_sharding(mesh)), jax.random.key(7)
            )
        losses.append(float(metrics["loss"]))
    return state, losses


@pytest.fixture(scope="module")
def unsharded():
    mesh = mesh_of("one")
    return run_steps(init_sharded(init, mesh, jax.random.key(0)), mesh, (1, 2, 3))


@pytest.fixture(scope="module")
def sharded():
    """Two steps on 2 x 2 x 2 devices."""
    mesh = mesh_of("eight")
    return run_steps(init_sharded(init, mesh, jax.random.key(0)), mesh, (1, 2))


@pytest.mark.devices(8)
def test_a_sharded_step_is_the_unsharded_step(unsharded, sharded):
    state, losses = sharded
    qkv = state.params["blocks"]["qkv"]["kernel"]
    assert {shard.data.shape for shard in qkv.addressable_shards} == {(2, 8, 24)}  # not [2, 16, 48]
    # The optimizer's state lies where its parameters lie.
    moments = state.opt_state[1][0].mu["blocks"]["qkv"]["kernel"]
    assert moments.sharding.is_equivalent_to(qkv.sharding, qkv.ndim)
    np.testing.assert_allclose(losses, unsharded[1][:2], rtol=1e-5)


@pytest.mark.devices(8)
@pytest.mark.slow
def test_saved_on_eight_devices_it_goes_on_on_two(unsharded, sharded, tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(2, sharded[0], {}, {})
    mesh = mesh_of("two")
    shardings = state_shardings(init, mesh, jax.random.key(0))
    abstract = abstract_state(init, shardings, jax.random.key(0))
    restored, _ = checkpoints.restore(abstract)
    checkpoints.close()
    chex.assert_trees_all_equal(jax.device_get(restored), jax.device_get(sharded[0]))
    state, losses = run_steps(restored, mesh, (3,))
    assert len(state.params["token_embed"].devices()) == 2
    np.testing.assert_allclose(losses, unsharded[1][2:], rtol=1e-5)
    # All but the biases of keys, whose gradient is rounding noise that Adam scales up.
    got, want = (flatten_dict(jax.device_get(s.params), sep="/") for s in (state, unsharded[0]))
    del got["blocks/qkv/bias"], want["blocks/qkv/bias"]
    chex.assert_trees_all_close(got, want, atol=1e-4)


def averaging(decay):
    """The average as it was kept before: last in the optimizer's chain, with its own count."""

    def update(updates, state, params):
        average, count = state
        now = jnp.minimum(decay, (1 + count) / (10 + count))
        new_params = optax.apply_updates(params, updates)
        return updates, (optax.incremental_update(new_params, average, 1 - now), count + 1)

    return optax.GradientTransformation(lambda params: (params, jnp.zeros((), jnp.int32)), update)


def test_the_average_follows_the_parameters_and_changes_nothing():
    def loss_function(params, batch, key):
        return (params["w"] * batch).sum(), {}

    optimizer = make_optimizer(OptimizerConfig(learning_rate=0.5), num_steps=20)
    params, decay, batch = {"w": jnp.ones((2, 1))}, 0.2, jnp.ones((2, 1))
    # Compiled one by one, operations round alike wherever they stand.
    step = functools.partial(train_step, loss_function=loss_function)
    plain = init_state(params, optimizer)
    state = init_state(params, optimizer, ema_decay=decay)
    chain = optax.chain(optimizer, averaging(decay))
    before = init_state(params, chain)
    assert plain.evaluated_params is plain.params
    averages = [1.0]
    for expected in (1 / 10, 2 / 11, 0.2, 0.2):  # (1 + n) / (10 + n), until it is above 0.2
        state, _ = step(state, batch, jax.random.key(0), optimizer=optimizer, ema_decay=decay)
        plain, _ = step(plain, batch, jax.random.key(0), optimizer=optimizer)
        before, _ = step(before, batch, jax.random.key(0), optimizer=chain)
        chex.assert_trees_all_equal(state[:3], plain[:3])
        now = float(state.params["w"][0, 0])
        averages.append(expected * averages[-1] + (1 - expected) * now)
        np.testing.assert_allclose(state.ema_params["w"], averages[-1], rtol=1e-6)
        chex.assert_trees_all_equal(state.ema_params, before.opt_state[-1][0])
        assert state.evaluated_params is state.ema_params


def test_steps_draw_different_random_numbers(unsharded):
    """Same batch, next step: dropout, orders and group sizes change with the step."""
    state, _ = unsharded
    loss_function = transformer_of(tiny.LPD).loss(train=False)
    batch = {
        "tokens": np.zeros((2, tiny.LPD.num_tokens), np.int32)
        + np.arange(16, dtype=np.int32)[None],
        "labels": np.zeros(2, np.int32),
    }
    evaluate = jax.jit(loss_function, compiler_options=toy.QUICK_COMPILE)
    losses = [float(evaluate(state.params, batch, jax.random.key(i))[0]) for i in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", ["one", pytest.param("eight", marks=pytest.mark.devices(8))])
def test_a_batch_in_parts_gives_the_same_update(name):
    mesh = mesh_of(name)

    def loss_function(params, batch, key):
        del key
        loss = ((batch["x"] @ params["w"] - batch["y"]) ** 2).mean()
        return loss, {"largest": batch["x"].max(-1).mean()}

    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(16, 3)), "y": rng.normal(size=16)}
    batch = jax.device_put(jax.tree.map(np.float32, batch), batch_sharding(mesh))
    state = init_state({"w": np.ones(3, np.float32)}, OPTIMIZER)
    choices = {"loss_function": loss_function, "optimizer": OPTIMIZER}
    with jax.set_mesh(mesh):
        (whole, whole_metrics), (cut, cut_metrics) = (
            jax.jit(functools.partial(train_step, **choices, accumulate_steps=parts))(
                state, batch, jax.random.key(0)
            )
            for parts in (1, 4)
        )
    chex.assert_trees_all_close(cut_metrics, whole_metrics, rtol=1e-5)
    chex.assert_trees_all_close(cut.params, whole.params, rtol=1e-5)


def test_parts_draw_different_random_numbers():
    def loss_function(params, batch, key):
        return params["w"] * jax.random.normal(key), {}

    state = init_state({"w": np.float32(1)}, OPTIMIZER)
    run = functools.partial(train_step, loss_function=loss_function, optimizer=OPTIMIZER)
    losses = {
        float(run(state, np.zeros(8), jax.random.key(0), accumulate_steps=parts)[1]["loss"])
        for parts in (1, 2, 4)
    }
    assert len(losses) == 3


@pytest.mark.slow
def test_lists_of_group_sizes_are_those_of_their_parts_on_any_mesh(unsharded):
    """Drawn for 8 parts of a batch: on one device, and on four shards of two parts each."""
    state, _ = unsharded
    params = jax.tree.map(np.asarray, state.params)
    loss_function = transformer_of(tiny.LPD).loss(train=False, num_size_lists=8)
    evaluate = jax.jit(loss_function, compiler_options=toy.QUICK_COMPILE)
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(0, 32, (16, tiny.LPD.num_tokens), dtype=np.int32)
    batch = {"tokens": tokens_BN, "labels": np.arange(16, dtype=np.int32) % 3}
    losses = []
    for name in ("one", "eight"):
        mesh = mesh_of(name)
        with jax.set_mesh(mesh):
            rows = jax.device_put(batch, batch_sharding(mesh))
            losses.append(float(evaluate(params, rows, jax.random.key(3))[0]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
