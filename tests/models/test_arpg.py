"""ARPG against the official code's numbers (tests/golden/arpg_*.npz)."""

import dataclasses
import itertools

import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.arpg_family import arpg_group_sizes
from lpd_jax.models.arpg_sizes import ARPG_MODELS
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.settings import Generation
from lpd_jax.models.token_loss import cross_entropy
from tests import golden_models as official
from tests import tiny
from tests.models.drawn import draw_greedily

NAME, GRADS = "arpg_dev", "arpg_grads_dev"
ONE_BY_ONE = np.arange(64, dtype=np.int32)


@pytest.fixture(scope="module")
def golden():
    arrays = official.load(NAME)
    same = np.tile(arrays["decode/order"], (2, 1)).astype(np.int32)
    return arrays | {"order": arrays["orders"].astype(np.int32), "decode_order": same}


def labels_of(golden, run):
    return golden["labels"] if run == "train" else np.full(2, golden["meta/num_classes"])


def test_training_logits_and_loss(golden):
    logits_BNV = official.teacher_forced(NAME, golden["labels"], golden["order"], ONE_BY_ONE)
    np.testing.assert_allclose(logits_BNV, golden["train/logits"], atol=1e-4)
    loss = cross_entropy(logits_BNV, golden["train/targets"])
    np.testing.assert_allclose(loss, golden["train/loss"], atol=1e-5)
    null_BNV = official.teacher_forced(NAME, np.full(2, 10), golden["order"], ONE_BY_ONE)
    wanted = official.load(GRADS)
    np.testing.assert_allclose(null_BNV, wanted["train_null/logits"], atol=1e-4)
    loss = cross_entropy(null_BNV, golden["train/targets"])
    np.testing.assert_allclose(loss, wanted["train_null/loss"], atol=1e-5)


@pytest.mark.parametrize("run", ["train", "train_null"])
def test_gradients(golden, run):
    official.check_gradients(NAME, run, labels_of(golden, run), golden["order"])


@pytest.mark.parametrize(
    ("run", "curve", "guidance"),
    [
        pytest.param("cfg1_arccos", "arccos", Guidance.make(), marks=pytest.mark.slow),
        ("cfg4_linear_arccos", "arccos", Guidance.make(4, "linear_after")),
        ("cfg2_constant_cosine", "cosine", Guidance.make(2, "constant")),
    ],
)
def test_cached_argmax_decoding(golden, run, curve, guidance):
    schedule = GroupSchedule(arpg_group_sizes(64, 12, curve))
    assert list(schedule.group_sizes) == golden[f"decode/{run}/step_sizes"].tolist()
    tokens_BN, logits_BNV = official.decoded(NAME, golden["decode_order"], schedule, guidance)
    np.testing.assert_array_equal(tokens_BN, golden[f"decode/{run}/tokens_genorder"])
    np.testing.assert_allclose(logits_BNV, golden[f"decode/{run}/logits"], atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_before_there_are_tokens_only_turned_queries_know_where_they_are(turned):
    config = dataclasses.replace(tiny.ARPG, turned_queries=turned)
    order_BN = np.stack([np.roll(np.arange(config.num_tokens), shift) for shift in range(3)])
    drawn = draw_greedily(config, tiny.random_params(config), order_BN, np.zeros(3, np.int32))
    np.testing.assert_allclose(drawn.logits_BNV, drawn.forced_BNV, atol=1e-4)
    first_BV = np.asarray(drawn.logits_BNV)[:, 0]
    assert np.allclose(first_BV[0], first_BV[1:], atol=1e-5) != turned


@pytest.mark.parametrize("steps", ["one_by_one", "12steps"])
def test_groups_read_and_ask_as_the_official_decoding_does(golden, steps):
    """Logits of given tokens, guided: a group reads itself, which training never does."""
    schedule = transformer_of(official.converted(NAME)[0]).schedule(12)
    group_N = ONE_BY_ONE if steps == "one_by_one" else schedule.group_of_rank()
    cond_BNV, null_BNV = (
        official.teacher_forced(NAME, labels_of(golden, run), golden["decode_order"], group_N)
        for run in ("train", "train_null")
    )
    wanted = official.load(GRADS)
    guided_BNV = null_BNV + 2.5 * (cond_BNV - null_BNV)
    np.testing.assert_allclose(guided_BNV, wanted[f"forced_{steps}_cfg2.5/logits"], atol=1e-4)
    if steps == "12steps":
        np.testing.assert_allclose(cond_BNV, wanted["forced_12steps_cfg1/logits"], atol=1e-4)


# Of the released code, as runs of (size, how many).
PUBLISHED_SIZES = {
    (256, 32): "6 5*6 6 5*2 6 5 6 5 6*5 7 6 7*2 8*3 9 10 11 14 17 40",
    (256, 64): "3*2 2 3 2 3 2 3 2 3*2 2 3 2 3*2 2 3*2 2 3*2 2 3*3 2 3*12 4 3*2 4 3 4 3 4*6 5 4 "
    "5*2 6 5 7*3 10 12 28",
    (1024, 64): "11 10*4 11 10*3 11 10*2 11 10 11 10 11 10 11*2 10 11*6 12 11 12 11 12*6 13*5 "
    "14*4 15*2 16*2 17*2 18*2 20*2 22 23 25 28 31 37 48 115",
}
COSINE_64 = "1*13 2 3 2*2 3*6 4 3 4*7 5*2 4 5*5 6 5*2 6 5 6*3 5 6*6 7 6*4 7 6*3"


def unrolled(text):
    runs = [run.split("*") for run in text.split()]
    return [int(size) for size, *times in runs for _ in range(int(times[0]) if times else 1)]


def test_group_sizes_are_the_published_ones():
    for sizes, text in PUBLISHED_SIZES.items():
        assert list(arpg_group_sizes(*sizes)) == unrolled(text)
    assert list(arpg_group_sizes(256, 64, "cosine")) == unrolled(COSINE_64)
    with pytest.raises(ValueError, match="^curve: got 'square', allowed are arccos, cosine"):
        arpg_group_sizes(256, 64, "square")


@pytest.mark.parametrize("curve", ["arccos", "cosine"])
def test_any_number_of_steps_draws_all_tokens(curve):
    for num_tokens, num_steps in itertools.product((1, 2, 16, 81), range(1, 82)):
        if num_steps <= num_tokens:
            sizes = arpg_group_sizes(num_tokens, num_steps, curve)
            assert len(sizes) == num_steps and sum(sizes) == num_tokens and min(sizes) > 0


@pytest.mark.parametrize(
    ("name", "count"),
    [("arpg_l", 319_845_376), ("arpg_xl", 718_997_760), ("arpg_xxl", 1_302_449_664)],
)
def test_parameter_counts_are_the_published_ones(name, count):
    assert count_params(ARPG_MODELS[name]) == count


@pytest.mark.parametrize(
    ("name", "scales"),
    [("arpg_l", (5.0, 5.4)), ("arpg_xl", (6.0, 6.6)), ("arpg_xxl", (7.5, 6.5))],
)
def test_published_settings(name, scales):
    for num_steps, scale in zip((64, 32), scales, strict=True):
        generation = Generation.published(ARPG_MODELS[name], num_steps)
        assert (generation.num_steps, generation.guidance_scale) == (num_steps, scale)
        assert (generation.order, generation.guidance_schedule) == ("random", "linear_after")
    assert Generation.published(ARPG_MODELS[name]) == Generation.published(ARPG_MODELS[name], 64)
    assert Generation.published(ARPG_MODELS[name], 50).guidance_scale == scales[0]
    family = transformer_of(ARPG_MODELS[name])
    assert family.schedule().num_steps == 64
    assert family.schedule(None, [100, 156]).group_sizes == (100, 156)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_layers": 5}, "^num_layers: got 5, allowed are even numbers"),
        ({"num_heads": 5}, "^num_heads: got 5, allowed are numbers that cut embed_dim"),
        ({"embedding_std": -1.0}, "^embedding_std: got -1.0, allowed is above 0"),
    ],
)
def test_impossible_sizes_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(ARPG_MODELS["arpg_l"], **fields)
