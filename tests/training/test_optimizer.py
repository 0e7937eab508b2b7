"""The optimizer against torch's AdamW, and the learning rate by step."""

import functools
import pathlib

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.lpd import LPD
from lpd_jax.models.parameters import init_boxed
from lpd_jax.models.token_loss import cross_entropy
from lpd_jax.runtime.mesh import MeshConfig, init_sharded, make_mesh, state_shardings
from lpd_jax.training.optimizer import OptimizerConfig, decays, make_learning_rate, make_optimizer
from lpd_jax.training.train_step import abstract_state, init_state, train_step
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names
from lpd_jax.weights.from_torch.official import official_weights
from tests import tiny
from tests.training import toy

# Made by running the official code with torch's AdamW. They change only with that code.
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "lpd_tiny16.npz")) | dict(
        np.load(GOLDEN / "lpd_tiny16_adamw3.npz")
    )


@pytest.fixture(scope="module")
def converted(golden):
    weights = {name[3:]: x for name, x in golden.items() if name.startswith("sd/")}
    return from_torch(weights, num_heads=4)


def golden_loss(golden, config):
    """The loss of the file: its orders, its group sizes, no dropout."""
    schedule = GroupSchedule(tuple(int(size) for size in golden["group_sizes"]))
    inputs = [jnp.asarray(golden[name], jnp.int32) for name in ("tokens", "labels", "orders")]
    targets_BN = jnp.take_along_axis(inputs[0], inputs[2], axis=1)

    def loss_function(params, batch, key):
        logits_BNV = LPD(config).apply({"params": params}, *inputs, schedule.group_of_rank())
        return cross_entropy(logits_BNV, targets_BN), {}

    return loss_function


def test_three_steps_are_torchs_three_steps(golden, converted):
    config, params = converted
    recipe = OptimizerConfig(
        learning_rate=float(golden["lr"]),
        beta1=float(golden["b1"]),
        beta2=float(golden["b2"]),
        epsilon=float(golden["eps"]),
        weight_decay=float(golden["weight_decay"]),
        clip_norm=float(golden["clip"]),
    )
    optimizer = make_optimizer(recipe, num_steps=3)
    loss = golden_loss(golden, config)
    step_function = functools.partial(train_step, loss_function=loss, optimizer=optimizer)
    step = jax.jit(step_function, compiler_options=toy.QUICK_COMPILE)
    state = init_state(jax.tree.map(jnp.asarray, params), optimizer)
    for i in range(3):
        state, metrics = step(state, None, jax.random.key(0))
        np.testing.assert_allclose(metrics["loss"], golden[f"loss{i}"], atol=1e-4)
        np.testing.assert_allclose(metrics["grad_norm"], golden[f"gnorm{i}"], atol=1e-4)
    want = {name[10:]: x for name, x in golden.items() if name.startswith("sd_after3/")}
    # The null class had no gradient: torch leaves such a weight alone, here it decays, once a step.
    want["fake_latent"] = want["fake_latent"] * (1 - golden["lr"] * golden["weight_decay"]) ** 3
    got = to_torch_names(config, state.params)
    assert {*got} == {*want}
    # A bias of all keys moves no softmax: its gradient is rounding noise, and Adam scales it up.
    for name in (name for name in want if name.endswith("qkv.bias")):
        keys = slice(config.embed_dim, 2 * config.embed_dim)
        np.testing.assert_allclose(got[name][keys], want[name][keys], atol=3 * golden["lr"])
        got[name] = np.delete(got[name], np.r_[keys])
        want[name] = np.delete(want[name], np.r_[keys])
    chex.assert_trees_all_close(got, want, atol=1e-4, rtol=0)


def test_biases_and_norms_do_not_decay_stacked_or_not(golden, converted):
    config, params = converted
    mask = flatten_dict(decays(params), sep="/")
    spared = {w.name for w in official_weights(config) if not mask[w.path]}
    assert spared == set(golden["no_decay"].tolist())


def test_boxes_do_not_hide_what_decays():
    boxed = jax.eval_shape(lambda key: init_boxed(tiny.LPD, key), jax.random.key(0))
    plain = decays(tiny.random_params(tiny.LPD))
    assert jax.tree.leaves(decays(boxed)) == jax.tree.leaves(plain)


def test_muon_turns_the_matrices_of_blocks_and_adamw_moves_the_rest():
    """A matrix's update is 0.2 of an orthogonal one, times the root of its longer side."""
    params = tiny.random_params(tiny.LPD)
    rng = np.random.default_rng(0)
    grads = jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), params)
    common = {"learning_rate": 0.1, "weight_decay": 0.0, "clip_norm": 1e9}
    updates = {}
    for name in ("adamw", "muon"):
        optimizer = make_optimizer(OptimizerConfig(name=name, **common), num_steps=1)
        updates[name] = jax.jit(optimizer.update)(grads, optimizer.init(params), params)[0]
    flat = {name: flatten_dict(update, sep="/") for name, update in updates.items()}
    for path, update in flat["muon"].items():
        if path.startswith("blocks/") and path.endswith("kernel"):
            for matrix in update:  # of each layer
                scale = 0.1 * 0.2 * np.sqrt(max(matrix.shape))
                singular = np.linalg.svd(matrix, compute_uv=False) / scale
                assert singular.min() > 0.5 and singular.max() < 1.3, path
        else:
            signs = np.sign(update) == -np.sign(flatten_dict(grads, sep="/")[path])
            assert signs.all(), path
            assert np.ptp(np.abs(update)) < 1e-3, path  # Adam's first step, by Nesterov's rule
            np.testing.assert_allclose(np.abs(flat["adamw"][path]), 0.1, rtol=1e-3)


def test_muons_state_is_laid_out_as_its_parameters():
    boxed = jax.eval_shape(lambda key: init_boxed(tiny.LPD, key), jax.random.key(0))
    optimizer = make_optimizer(OptimizerConfig(name="muon"), num_steps=1)
    state = jax.eval_shape(optimizer.init, boxed)
    leaves = jax.tree_util.tree_leaves_with_path(
        state, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata)
    )
    of_up = [leaf for path, leaf in leaves if "'up'" in str(path) and "'kernel'" in str(path)]
    assert [leaf.names for leaf in of_up if jax.tree.leaves(leaf)] == [("layers", "embed", "mlp")]


def test_a_state_with_muon_is_made_and_restored_alike():
    optimizer = make_optimizer(OptimizerConfig(name="muon"), num_steps=1)
    mesh, key = make_mesh(MeshConfig(), num_devices=1), jax.random.key(0)

    def init(key):
        return init_state(init_boxed(tiny.LPD, key), optimizer)

    made = init_sharded(init, mesh, key)
    restored = abstract_state(init, state_shardings(init, mesh, key), key)
    assert jax.tree.structure(restored) == jax.tree.structure(made)


def test_the_rate_warms_up_stays_and_falls_by_a_cosine():
    config = OptimizerConfig(
        learning_rate=1e-3, final_learning_rate=1e-5, warmup_steps=4, cosine_steps=10
    )
    rate = make_learning_rate(config, num_steps=20)
    got = [float(rate(step)) for step in (0, 1, 3, 4, 7, 10, 15, 20)]
    half = (1e-3 + 1e-5) / 2
    np.testing.assert_allclose(got, [0, 2.5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3, half, 1e-5], rtol=1e-5)


def test_without_warm_up_and_cosine_the_rate_is_constant():
    rate = make_learning_rate(OptimizerConfig(learning_rate=1e-3), num_steps=5)
    np.testing.assert_allclose([float(rate(step)) for step in range(5)], 1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warmup_steps": 6, "cosine_steps": 5}, "optimizer.warmup_steps .* 6 \\+ 5.* 10"),
        ({"warmup_steps": -1}, "optimizer.warmup_steps"),
        ({"learning_rate": 0.0}, "optimizer.learning_rate: got 0.0, allowed is above 0"),
        ({"clip_norm": -1.0}, "optimizer.clip_norm: got -1.0, allowed is above 0"),
        ({"weight_decay": -0.1}, "optimizer.weight_decay: got -0.1, allowed is 0 or more"),
        ({"beta2": 1.0}, "optimizer.beta2: got 1.0, allowed are \\[0, 1\\)"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_learning_rate(OptimizerConfig(**fields), num_steps=10)
