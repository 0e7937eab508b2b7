"""LPD's teacher-forced pass against the official code, and what its rows can and cannot see."""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.layers import Block
from lpd_jax.models.lpd import LPD, LPD_MODELS, block_sizes
from lpd_jax.models.token_loss import cross_entropy
from lpd_jax.models.transformer import unstack_blocks
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SCHEDULE = GroupSchedule((1, 3, 5, 7))
GROUP_N = SCHEDULE.group_of_rank()


@pytest.fixture(scope="module")
def golden():
    # Made by running the official code on a small random model. It changes only with that code.
    return dict(np.load(GOLDEN / "lpd_tiny16.npz"))


@pytest.fixture(scope="module")
def model(golden):
    """(config, params)"""
    weights = {name[3:]: x for name, x in golden.items() if name.startswith("sd/")}
    config, params = from_torch(weights, num_heads=4)
    return config, jax.device_put(params)


@pytest.fixture(scope="module")
def batch(golden):
    """(tokens, labels, order)"""
    return tuple(golden[name].astype(np.int32) for name in ("tokens", "labels", "orders"))


@pytest.fixture(scope="module")
def forward(model):
    config, params = model

    @jax.jit
    def run(tokens_BN, labels_B, order_BN, group_N=GROUP_N):
        return LPD(config).apply({"params": params}, tokens_BN, labels_B, order_BN, group_N)

    return run


@pytest.fixture(scope="module")
def loss_and_gradients(model):
    config, params = model

    @jax.jit
    def run(tokens_BN, labels_B, order_BN):
        def loss(params):
            inputs = (tokens_BN, labels_B, order_BN, GROUP_N)
            logits_BNV = LPD(config).apply({"params": params}, *inputs)
            return cross_entropy(logits_BNV, jnp.take_along_axis(tokens_BN, order_BN, axis=1))

        return jax.value_and_grad(loss)(params)

    return run


def dropped(golden, model, labels_B):
    """The labels with those dropped that the official run dropped."""
    return np.where(golden["train_drop/drop_mask"], model[0].null_class, labels_B)


def test_sizes_are_read_off_the_golden_model(model):
    config, _ = model
    assert (config.num_layers, config.embed_dim, config.num_heads) == (3, 64, 4)
    assert (config.grid_size, config.codebook_size, config.num_classes) == ((4, 4), 128, 10)
    assert config.num_tokens == 16 and config.null_class == 10


def test_logits_are_the_official_ones(golden, model, batch, forward):
    tokens_BN, labels_B, order_BN = batch
    np.testing.assert_allclose(forward(*batch), golden["train/logits"], atol=1e-4)
    labels_B = dropped(golden, model, labels_B)
    logits_BNV = forward(tokens_BN, labels_B, order_BN)
    np.testing.assert_allclose(logits_BNV, golden["train_drop/logits"], atol=1e-4)
    assert logits_BNV.dtype == jnp.float32


def test_targets_are_tokens_in_generation_order(golden, batch):
    tokens_BN, _, order_BN = batch
    ranked_BN = np.take_along_axis(tokens_BN, order_BN, axis=1)
    np.testing.assert_array_equal(ranked_BN, golden["train/target"])


def test_each_block_is_the_official_one(golden, model):
    config, params = model
    # The official rows: ten of context, without the last group, and sixteen queries.
    block = Block(**{**block_sizes(config), "num_context": 10})
    run = jax.jit(lambda params, x_BTD: block.apply({"params": params}, x_BTD, mask_TT)[0])
    mask_TT, x_BTD = golden["train_mask"], golden["train/blocks_in"]
    for i, layer_params in enumerate(unstack_blocks(params, config.num_layers)["blocks"]):
        x_BTD = run(layer_params, x_BTD)
        np.testing.assert_allclose(x_BTD, golden[f"train/block{i}_out"], atol=1e-4)


@pytest.mark.parametrize("run", ["", "_drop"])
def test_loss_and_gradients_are_the_official_ones(golden, model, batch, loss_and_gradients, run):
    config, _ = model
    tokens_BN, labels_B, order_BN = batch
    if run:
        labels_B = dropped(golden, model, labels_B)
    loss, gradients = loss_and_gradients(tokens_BN, labels_B, order_BN)
    np.testing.assert_allclose(loss, golden[f"train{run}/loss"], atol=1e-5)
    with np.load(GOLDEN / "lpd_tiny16_grads.npz") as want:
        ours = to_torch_names(config, gradients)
        # The null class has a gradient only where a label was dropped.
        assert not run or np.abs(ours["fake_latent"]).max() > 1e-4
        if not run:
            np.testing.assert_array_equal(ours.pop("fake_latent"), 0)
        assert {f"grad{run}/{name}" for name in ours} == {
            name for name in want.files if name.startswith(f"grad{run}/")
        }
        for name, gradient in ours.items():
            np.testing.assert_allclose(gradient, want[f"grad{run}/{name}"], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("group", range(4))
def test_no_row_sees_its_own_or_a_later_group(batch, forward, group):
    tokens_BN, labels_B, order_BN = batch
    start = SCHEDULE.group_starts[group]
    changed_BN = tokens_BN.copy()
    # Other tokens from this group on, in another order of the groups after it.
    later_BR = order_BN[:, start:]
    np.put_along_axis(changed_BN, later_BR, 127 - np.take_along_axis(tokens_BN, later_BR, 1), 1)
    end = start + SCHEDULE.group_sizes[group]
    other_order_BN = np.concatenate([order_BN[:, :end], order_BN[:, end:][:, ::-1]], axis=1)
    before_BNV, after_BNV = forward(*batch), forward(changed_BN, labels_B, other_order_BN)
    np.testing.assert_allclose(after_BNV[:, :end], before_BNV[:, :end], atol=1e-6)
    # And every row of the groups after it does see it.
    if group < 3:
        assert (np.abs(after_BNV[:, end:] - before_BNV[:, end:]).max(-1) > 1e-4).all()


def test_groups_are_data(batch, model):
    config, params = model
    traces = []

    @jax.jit
    def run(group_N):
        traces.append(group_N)
        return LPD(config).apply({"params": params}, *batch, group_N)

    one_by_one_BNV = run(np.arange(16))
    at_once_BNV = run(np.zeros(16, np.int64))
    assert len(traces) == 1
    assert np.abs(one_by_one_BNV - at_once_BNV).max() > 1e-2


def test_a_label_that_is_no_class_is_not_a_number(batch, forward):
    tokens_BN, _, order_BN = batch
    known_BNV = forward(tokens_BN, np.array([0, 10], np.int32), order_BN)
    assert np.isfinite(known_BNV).all()
    for label in (11, 1000, -1):
        logits_BNV = forward(tokens_BN, np.array([0, label], np.int32), order_BN)
        np.testing.assert_array_equal(logits_BNV[0], known_BNV[0])
        assert np.isnan(logits_BNV[1]).all()


def test_dropout_acts_in_training_alone(batch, model):
    config, params = model
    run = jax.jit(
        lambda key, train: LPD(config).apply(
            {"params": params}, *batch, GROUP_N, train, rngs={"dropout": key}
        ),
        static_argnums=1,
    )
    first, second = jax.random.split(jax.random.key(0))
    chex.assert_trees_all_equal(run(first, False), run(second, False))
    assert np.abs(run(first, True) - run(second, True)).max() > 1e-2
    chex.assert_trees_all_equal(run(first, True), run(first, True))


def test_published_sizes():
    assert LPD_MODELS["lpd_l"].num_tokens == 256 and LPD_MODELS["lpd_xl_512"].num_tokens == 1024
    assert {c.embed_dim // c.num_heads for c in LPD_MODELS.values()} == {64}
