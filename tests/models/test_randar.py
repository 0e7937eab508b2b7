"""RandAR against the official code's numbers (tests/golden/randar_*.npz)."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.randar import RANDAR_MODELS
from lpd_jax.models.randar_family import randar_group_sizes
from lpd_jax.models.settings import Generation
from lpd_jax.models.token_loss import cross_entropy
from tests import golden_models as official
from tests import tiny

NAME, GRADS = "randar_dev", "randar_grads_dev"
ONE_BY_ONE = np.arange(64, dtype=np.int32)


@pytest.fixture(scope="module")
def golden():
    return official.load(NAME) | {"order": official.load(NAME)["orders"].astype(np.int32)}


@pytest.fixture(scope="module")
def schedule():
    return transformer_of(official.converted(NAME)[0]).schedule(12)


def labels_of(golden, run):
    return golden["labels"] if run == "train" else np.full(2, golden["meta/num_classes"])


@pytest.mark.parametrize("run", ["train", "train_null"])
def test_training_logits_and_loss(golden, run):
    logits_BNV = official.teacher_forced(NAME, labels_of(golden, run), golden["order"], ONE_BY_ONE)
    np.testing.assert_allclose(logits_BNV, golden[f"{run}/logits"], atol=1e-4)
    loss = cross_entropy(logits_BNV, golden["train/targets"])
    np.testing.assert_allclose(loss, golden[f"{run}/loss"], atol=1e-5)


@pytest.mark.parametrize("run", ["train", "train_null"])
def test_gradients(golden, run):
    official.check_gradients(NAME, run, labels_of(golden, run), golden["order"])


@pytest.mark.parametrize(
    ("run", "guidance"),
    [("cfg1", Guidance.make()), ("cfg1to4_linear", Guidance.make(4, "linear_before"))],
)
def test_cached_argmax_decoding(golden, schedule, run, guidance):
    assert list(schedule.group_sizes) == golden["decode/step_sizes"].tolist()
    tokens_BN, logits_BNV = official.decoded(NAME, golden["order"], schedule, guidance)
    np.testing.assert_array_equal(tokens_BN, golden[f"decode/{run}/tokens_genorder"])
    np.testing.assert_allclose(logits_BNV, golden[f"decode/{run}/logits"], atol=1e-4)


def test_a_pass_feeds_as_many_rows_as_the_official_one(golden, schedule):
    rows = transformer_of(official.converted(NAME)[0]).count_rows(schedule)
    assert rows.exact == golden["decode/input_len"].sum()


@pytest.mark.parametrize("steps", ["one_by_one", "12steps"])
def test_groups_ask_as_the_official_decoding_does(golden, schedule, steps):
    """Logits of given tokens, guided; in groups, queries miss the tokens of their own group."""
    group_N = ONE_BY_ONE if steps == "one_by_one" else schedule.group_of_rank()
    cond_BNV, null_BNV = (
        official.teacher_forced(NAME, labels_of(golden, run), golden["order"], jnp.asarray(group_N))
        for run in ("train", "train_null")
    )
    wanted = official.load(GRADS)
    guided_BNV = null_BNV + 2.5 * (cond_BNV - null_BNV)
    np.testing.assert_allclose(guided_BNV, wanted[f"forced_{steps}_cfg2.5/logits"], atol=1e-4)
    if steps == "12steps":
        np.testing.assert_allclose(cond_BNV, wanted["forced_12steps_cfg1/logits"], atol=1e-4)


def test_rows_that_ask_in_groups_of_one_are_those_of_training(golden):
    plain_BNV, grouped_BNV = (
        official.teacher_forced(NAME, golden["labels"], golden["order"], group_N)
        for group_N in (ONE_BY_ONE, jnp.asarray(np.tile(ONE_BY_ONE, (2, 1))))
    )
    np.testing.assert_allclose(plain_BNV, grouped_BNV, atol=1e-5)


def test_training_takes_a_fresh_order_for_each_image_one_token_a_step():
    family = transformer_of(tiny.RANDAR)
    tokens_BN, labels_B = jnp.zeros((5, 16), jnp.int32), jnp.zeros(5, jnp.int32)
    inputs, _ = family.training_inputs(jax.random.key(0), tokens_BN, labels_B, train=False)
    assert len(np.unique(inputs.order_BN, axis=0)) == 5
    np.testing.assert_array_equal(np.sort(inputs.order_BN, axis=1), np.tile(np.arange(16), (5, 1)))
    np.testing.assert_array_equal(inputs.group_N, np.arange(16))
    np.testing.assert_array_equal(inputs.labels_B, labels_B)
    # The rows that only groups need are left out.
    params = tiny.random_params(tiny.RANDAR)
    texts = [
        str(jax.make_jaxpr(lambda p, i=i: family.logits(p, i))(params))
        for i in (inputs, inputs._replace(group_N=jnp.asarray(inputs.group_N)))
    ]
    assert "5,32,16]" in texts[0] and "5,48,16]" not in texts[0] and "5,48,16]" in texts[1]


# Of the released code, as runs of (size, how many).
PUBLISHED_SIZES = {
    32: "1*3 2 3 4 3 5*2 6*2 7*2 8*3 10 9 10*2 11*3 12 11 12*2 13 12*2 13 12",
    20: "1 3 4 5 7 8 10 11 13*2 15 16 17*2 19 18 20 19 20*2",
    64: "1*13 2 3 2*2 3*6 4 3 4*7 5*2 4 5*5 6 5*2 6 5 6*3 5 6*6 7 6*4 7 6*3",
    88: "1*24 2*6 3 2 3 2 3*2 2 3*7 4 3*2 4 3 4 3 4*2 3 4*11 5 4*3 5 4*2 5 4 5 4 5 4 5 4 5 4 5 4 "
    "5 4 5 4",
}


def unrolled(text):
    runs = [run.split("*") for run in text.split()]
    return [int(size) for size, *times in runs for _ in range(int(times[0]) if times else 1)]


@pytest.mark.parametrize("num_steps", PUBLISHED_SIZES)
def test_group_sizes_are_the_published_ones(num_steps):
    assert list(randar_group_sizes(256, num_steps)) == unrolled(PUBLISHED_SIZES[num_steps])


def test_any_number_of_steps_draws_all_tokens():
    for num_tokens, num_steps in itertools.product((1, 2, 16, 81), range(1, 82)):
        if num_steps <= num_tokens:
            sizes = randar_group_sizes(num_tokens, num_steps)
            assert len(sizes) == num_steps and sum(sizes) == num_tokens and min(sizes) > 0


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("randar_l", 342_912_000),
        ("randar_xl", 774_700_800),
        ("randar_xxl", 1_410_974_208),
        ("randar_l_maskgit", 342_912_000 - 2 * 15_360 * 1024),
    ],
)
def test_parameter_counts_are_the_published_ones(name, count):
    assert count_params(RANDAR_MODELS[name]) == count


@pytest.mark.parametrize(
    ("name", "scale"),
    [("randar_l", 3.4), ("randar_xl", 4.0), ("randar_xxl", 4.0), ("randar_l_maskgit", 4.0)],
)
def test_published_settings(name, scale):
    generation = Generation.published(RANDAR_MODELS[name])
    assert (generation.num_steps, generation.guidance_scale) == (88, scale)
    assert (generation.order, generation.guidance_schedule) == ("random", "linear_before")
    assert Generation.published(RANDAR_MODELS[name], 32).num_steps == 32
    family = transformer_of(RANDAR_MODELS[name])
    assert family.schedule().num_steps == 88
    assert family.schedule(None, [100, 156]).group_sizes == (100, 156)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_heads": 5}, "^num_heads: got 5, allowed are numbers that cut embed_dim"),
        ({"num_layers": 0}, "^num_layers: got 0"),
        ({"token_drop_rate": 1.0}, "^token_drop_rate: got 1.0"),
        ({"matrix_std": 0.0}, "^matrix_std: got 0.0, allowed is above 0"),
        ({"grid_size": (0, 4)}, r"^grid_size: got \(0, 4\)"),
    ],
)
def test_impossible_sizes_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RANDAR_MODELS["randar_l"], **fields)
