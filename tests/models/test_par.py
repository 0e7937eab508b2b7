"""PAR and LlamaGen against the official code's numbers (tests/golden/par_*.npz, llamagen_*.npz)."""

import dataclasses
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import meta

from lpd_jax.decoding.order import region_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import to_raster
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import causal_group_mask, make_segments, padded_rows
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.par import PAR
from lpd_jax.models.par_layout import (
    PAR_MODELS,
    par_order,
    par_schedule,
    rope_table,
    slot_mask,
    slot_ranks,
)
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names
from tests import tiny

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FILES = ("par_n4_dev", "par_n16_dev", "llamagen_dev")


@pytest.fixture(scope="module", params=FILES)
def golden(request):
    with np.load(GOLDEN / f"{request.param}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def converted(golden):
    weights = {name[3:]: array for name, array in golden.items() if name.startswith("sd/")}
    config, params = from_torch(weights, int(golden["meta/n_head"]), int(golden["meta/grid"]))
    return config, jax.tree.map(jnp.asarray, params)


def logits_of(golden, converted, labels_B) -> np.ndarray:
    config, params = converted
    tokens_BN = jnp.asarray(golden["tokens"], jnp.int32)
    run = jax.jit(lambda *x: PAR(config).apply({"params": params}, *x))
    return run(tokens_BN, jnp.asarray(labels_B, jnp.int32))


def loss_of(logits_BNV, targets_BN):
    losses = optax.softmax_cross_entropy_with_integer_labels(logits_BNV, targets_BN)
    return losses.mean()


def test_the_layout_is_the_official_one(golden, converted):
    config, _ = converted
    n, num_tokens = config.num_parallel, config.num_tokens
    np.testing.assert_array_equal(
        causal_group_mask(par_schedule(config)), golden["train/mask"][:num_tokens, :num_tokens]
    )
    np.testing.assert_allclose(rope_table(config), golden["rope"][:num_tokens], atol=1e-6)
    empty = np.flatnonzero(slot_ranks(config) < 0)
    np.testing.assert_array_equal(empty, [0, *range(n + 1, 2 * n)])


def test_training_logits_and_loss(golden, converted):
    for run, labels_B in (
        ("train", golden["labels"]),
        ("train_null", np.full(2, converted[0].null_class)),
    ):
        logits_BNV = logits_of(golden, converted, labels_B)
        np.testing.assert_allclose(logits_BNV, golden[f"{run}/logits"], atol=1e-4)
        loss = loss_of(logits_BNV, golden["tokens_genorder"])
        np.testing.assert_allclose(loss, golden[f"{run}/loss"], atol=1e-5)


def test_gradients(golden, converted):
    config, params = converted
    inputs = (jnp.asarray(golden["tokens"], jnp.int32), jnp.asarray(golden["labels"], jnp.int32))

    def loss(params):
        logits_BNV = PAR(config).apply({"params": params}, *inputs)
        return loss_of(logits_BNV, jnp.asarray(golden["tokens_genorder"]))

    grads = jax.jit(jax.grad(loss))(params)
    norm = optax.tree.norm(grads)
    np.testing.assert_allclose(norm, golden["train/grad_global_norm"], rtol=1e-4)
    got = to_torch_names(config, grads)
    want = {name.removeprefix("grad/"): golden[name] for name in golden if name.startswith("grad/")}
    assert want
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("scale", [1, 2])
def test_cached_argmax_decoding(golden, converted, scale):
    config, params = converted
    schedule = par_schedule(config)
    order_BN = np.tile(region_order(config.grid_size, config.num_parallel), (2, 1))
    np.testing.assert_array_equal(schedule.group_sizes, golden["decode/step_sizes"])
    tokens_BN, logits_BNV = generate_ranked_tokens(
        config,
        params,
        jnp.asarray(golden["labels"], jnp.int32),
        jnp.asarray(order_BN),
        image_keys(0, 0, 2),
        schedule=schedule,
        sampling=Sampling.make(temperature=0),
        guidance=Guidance.make(scale, "constant"),
        keep_logits=True,
    )
    run = f"decode/cfg{scale}"
    np.testing.assert_array_equal(tokens_BN, golden[f"{run}/tokens_genorder"])
    np.testing.assert_array_equal(to_raster(tokens_BN, order_BN), golden[f"{run}/tokens"])
    np.testing.assert_allclose(logits_BNV, golden[f"{run}/logits"], atol=1e-4)


STUDIES = {
    "raster": {"num_regions": 1},
    "regions one by one": {"num_parallel": 1, "num_regions": 4},
    "no sequential start": {"sequential_start": False},
    "causal groups": {"group_attention": "causal"},
}


@pytest.mark.parametrize(
    "study",
    [
        "causal groups",
        *(pytest.param(x, marks=pytest.mark.slow) for x in STUDIES if x != "causal groups"),
    ],
)
def test_the_studies_decode_as_they_train(study):
    config = dataclasses.replace(tiny.PAR, **STUDIES[study])
    params, labels_B = tiny.random_params(config), jnp.array([0, 2])
    order_BN = np.tile(par_order(config), (2, 1))
    tokens_BN, logits_BNV = generate_ranked_tokens(
        config,
        params,
        labels_B,
        jnp.asarray(order_BN),
        image_keys(0, 0, 2),
        schedule=par_schedule(config),
        sampling=Sampling.make(),
        guidance=Guidance.make(1),
        keep_logits=True,
    )
    raster_BN = to_raster(tokens_BN, order_BN)
    forced_BNV = jax.jit(PAR(config).apply)({"params": params}, raster_BN, labels_B)
    np.testing.assert_allclose(logits_BNV, forced_BNV, atol=1e-4)


def test_the_studies_are_what_the_paper_compares():
    raster = dataclasses.replace(tiny.PAR, num_regions=1)
    np.testing.assert_array_equal(par_order(raster), np.arange(16))
    assert par_schedule(raster) == par_schedule(tiny.PAR)
    one = dataclasses.replace(tiny.PAR, num_parallel=1, num_regions=4)
    np.testing.assert_array_equal(par_order(one), par_order(tiny.PAR))
    assert par_schedule(one).group_sizes == (1,) * 16
    at_once = dataclasses.replace(tiny.PAR, sequential_start=False)
    assert par_schedule(at_once).group_sizes == (4,) * 4
    np.testing.assert_array_equal(slot_ranks(at_once), [-1] * 4 + list(range(12)))
    causal = dataclasses.replace(tiny.PAR, group_attention="causal")
    np.testing.assert_array_equal(slot_mask(causal), np.tril(np.ones((16, 16), bool)))
    assert slot_mask(tiny.PAR)[4, 7] and not slot_mask(tiny.PAR)[3, 4]


@pytest.mark.parametrize(
    ("side", "steps"), [(24, {1: 576, 4: 147, 16: 51}), (16, {1: 256, 4: 67, 16: 31})]
)
def test_steps_are_the_published_ones(side, steps):
    for parallel, count in steps.items():
        config = dataclasses.replace(
            PAR_MODELS["par_l_4x"], num_parallel=parallel, grid_size=(side, side)
        )
        assert par_schedule(config).num_steps == count
        segments = make_segments(par_schedule(config), 3)
        exact = sum(map(sum, zip(par_schedule(config).group_sizes, _previous(config), strict=True)))
        assert padded_rows(segments) == exact


def _previous(config) -> list[int]:
    return [1, *par_schedule(config).group_sizes[:-1]]


def test_another_schedule_is_refused(converted):
    config, params = converted
    with pytest.raises(ValueError, match="^group_sizes: got .* allowed are .* at a time"):
        generate_ranked_tokens(
            config,
            params,
            jnp.zeros(1, jnp.int32),
            jnp.arange(config.num_tokens)[None],
            image_keys(0, 0, 1),
            schedule=GroupSchedule((config.num_tokens // 2,) * 2),
            sampling=Sampling.make(),
            guidance=Guidance.make(1),
        )


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("llamagen_b", 110_888_448),
        ("llamagen_l", 342_910_976),
        ("llamagen_1b", 1_199_616_000),
        ("llamagen_7b", 6_614_589_440),
        ("llamagen_xxxl", 3_893_027_840),
        ("par_b_4x", 110_888_448 + 2_304),
        ("par_l_4x", 342_914_048),
        ("par_l_16x", 342_910_976 + 15_360),
        ("par_xl_4x", 774_703_360),
        ("par_xl_16x", 774_718_720),
        ("par_xxl_4x", 1_410_977_280),
        ("par_xxl_16x", 1_410_995_712),
        ("par_3b_4x", 3_096_668_800),
        ("par_3b_16x", 3_096_707_200),
        ("par_video_xl_4x", 895_449_600),
    ],
)
def test_parameter_counts_are_the_published_ones(name, count):
    model = PAR(PAR_MODELS[name])
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *model.example_inputs()))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_a_slot_learns_nothing_of_what_it_predicts(golden, converted):
    """Other tokens from rank k on leave the logits of the slots before alone."""
    config, _ = converted
    before = logits_of(golden, converted, golden["labels"])
    n = config.num_parallel
    first = 2 * n  # of a group, held by the slots from 3n on
    tokens_BN, order_N = golden["tokens"].copy(), golden["order"]
    tokens_BN[:, order_N[first:]] = (tokens_BN[:, order_N[first:]] + 1) % config.codebook_size
    after = logits_of(golden | {"tokens": tokens_BN}, converted, golden["labels"])
    chex.assert_trees_all_equal(before[:, : first + n], after[:, : first + n])
    assert not np.allclose(before[:, first + n :], after[:, first + n :])


def test_dropout_needs_a_key_and_changes_the_logits():
    config = dataclasses.replace(
        PAR_MODELS["par_b_4x"], num_layers=1, embed_dim=16, num_heads=2, grid_size=(4, 4),
        codebook_size=8, num_classes=3, mlp_multiple=8,
    )  # fmt: skip
    model = PAR(config)
    params, inputs = jax.device_put(tiny.random_params(config)), model.example_inputs()

    @jax.jit
    def logits(key):
        return model.apply({"params": params}, *inputs, True, rngs={"dropout": key})

    drawn = [logits(jax.random.key(i)) for i in (0, 0, 1)]
    chex.assert_trees_all_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_parallel": 3}, "^num_parallel: got 3, allowed are squares whose root divides"),
        ({"num_parallel": 25}, "^num_parallel: got 25, allowed"),
        ({"num_parallel": 0}, "^num_parallel"),
        ({"num_regions": 3}, "^num_regions: got 3, allowed are squares whose root divides"),
        ({"num_regions": 1, "num_parallel": 5}, "^num_parallel: got 5, allowed are divisors of"),
        ({"group_attention": "half"}, "^group_attention: got 'half', allowed are full, causal"),
        ({"num_heads": 5}, "^num_heads: got 5, allowed are numbers that cut embed_dim"),
        ({"num_layers": 0}, "^num_layers: got 0"),
        ({"token_drop_rate": 1.0}, "^token_drop_rate: got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PAR_MODELS["par_l_4x"], **fields)
