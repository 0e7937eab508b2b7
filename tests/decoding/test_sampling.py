"""Logits to tokens: the official filters and guidance, and draws that depend on nothing else."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.sampling import (
    Guidance,
    Sampling,
    apply_guidance,
    filter_logits,
    sample_tokens,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
LOGITS_BQV = 2 * np.random.default_rng(7).standard_normal((3, 5, 11)).astype(np.float32)
RANKS_Q = np.arange(5)
KEYS_B = jax.random.split(jax.random.key(8), 3)
draw = jax.jit(sample_tokens)


@pytest.fixture(scope="module")
def golden():
    # Made by the official code. It changes only with that code.
    return dict(np.load(GOLDEN / "lpd_extras.npz"))


def filtered(logits, temperature, top_k, top_p):
    sampling = Sampling.make(temperature, int(top_k), float(top_p))
    logits_1QV = np.asarray(logits, np.float32)[None] / sampling.temperature
    return np.asarray(jax.jit(filter_logits)(logits_1QV, sampling))[0]


@pytest.mark.parametrize(
    "name", ["k0_p1.0", "k5_p1.0", "k0_p0.9", "k0_p0.5", "k10_p0.8", "k1_p1.0", "k50_p0.95"]
)
def test_filters_are_the_official_ones(golden, name):
    top_k, top_p = re.fullmatch(r"k(\d+)_p([\d.]+)", name).groups()
    ours = filtered(golden["filter/logits"], 1.0, top_k, top_p)
    np.testing.assert_array_equal(ours, golden[f"filter/{name}"])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_probabilities_are_the_official_ones(golden, temperature):
    logits = filtered(golden["filter/logits"], temperature, 10, 0.9)
    want = golden[f"filter/probs_t{temperature}_k10_p0.9"]
    np.testing.assert_allclose(jax.nn.softmax(logits, axis=-1), want, atol=1e-6)


@pytest.mark.parametrize(("num_tokens", "scale"), [(16, 3.0), (256, 4.8), (1024, 5.0)])
def test_linear_guidance_is_the_official_one(golden, num_tokens, scale):
    guidance = Guidance.make(scale, "linear")
    ours = guidance.scale_of_rank(jnp.arange(num_tokens), num_tokens)
    np.testing.assert_allclose(ours, golden[f"cfg_linear/{num_tokens}_{scale}"], atol=1e-5)


def test_guidance_by_hand():
    cond_BQV, uncond_BQV = jnp.array([[[1.0, 2.0], [1.0, 2.0]]]), jnp.zeros((1, 2, 2))
    guided = apply_guidance(cond_BQV, uncond_BQV, jnp.array([1.0, 3.0]))
    assert guided.tolist() == [[[1.0, 2.0], [3.0, 6.0]]]
    constant = Guidance.make(2.5, "constant")
    assert constant.scale_of_rank(jnp.arange(3), 16).tolist() == [2.5, 2.5, 2.5]
    assert constant.active and Guidance.make(0).active
    assert not Guidance.make(1).active and not Guidance.make().active


def test_scales_can_grow_by_groups():
    """All tokens of a step alike: by those before it (RandAR), or with its own (ARPG)."""
    rank_Q = jnp.arange(4, 7)  # a group of 3 of 16 tokens, in slots 5 to 7
    scales = [
        Guidance.make(5.0, name).scale_of_rank(rank_Q, 16, 8).tolist()
        for name in ("linear", "linear_before", "linear_after")
    ]
    assert scales == [[2.0, 2.25, 2.5], [2.0] * 3, [1 + 4 * 7 / 16] * 3]


def test_nucleus_by_hand():
    logits = np.log([[0.2, 0.5, 0.3]])
    assert np.isfinite(filtered(logits, 1.0, 0, 0.6)).tolist() == [[False, True, True]]
    assert np.isfinite(filtered(logits, 1.0, 0, 0.4)).tolist() == [[False, True, False]]
    assert np.isfinite(filtered(logits, 1.0, 0, 1e-9)).tolist() == [[False, True, False]]
    # The smallest set that reaches 0.5, and no token more.
    assert np.isfinite(filtered(logits, 1.0, 0, 0.5)).tolist() == [[False, True, False]]
    # Top-k first: 0.5 and 0.3 are 0.625 and 0.375 of what it leaves.
    assert np.isfinite(filtered(logits, 1.0, 2, 0.6)).tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("top_p", "num_kept"), [(1e-40, 1), (1e-300, 1), (0.25, 1), (0.5, 1), (0.75, 2), (0.875, 3)]
)
def test_a_nucleus_that_reaches_top_p_exactly_takes_no_token_more(top_p, num_kept):
    """The official filter keeps one more where the mass is reached exactly."""
    logits = np.log2([[0.5, 0.25, 0.125, 0.0625, 0.0625]]) * np.log(2)
    assert np.isfinite(filtered(logits, 1.0, 0, top_p)).sum() == num_kept


def test_ties_with_the_kth_stay():
    assert np.isfinite(filtered([[1.0, 3.0, 1.0, 0.0]], 1.0, 2, 1.0)).tolist() == [
        [True, True, True, False]
    ]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling.make(0),
        Sampling.make(1e-12),  # divided by this, logits would be infinite
        Sampling.make(top_k=1),
        Sampling.make(3.0, top_p=1e-6),
        Sampling.make(1e-6),
    ],
    ids=["zero", "tiny", "top_k", "top_p", "cold"],
)
def test_sampling_that_leaves_no_choice_is_argmax(sampling):
    tokens_BQ = draw(KEYS_B, RANKS_Q, LOGITS_BQV, sampling)
    assert tokens_BQ.dtype == jnp.int32
    np.testing.assert_array_equal(tokens_BQ, LOGITS_BQV.argmax(-1))


def test_more_than_the_codebook_is_all_of_it():
    for top_k in (11, 10**6):
        np.testing.assert_array_equal(filtered(LOGITS_BQV[0], 1.0, top_k, 1.0), LOGITS_BQV[0])


def test_draws_follow_the_probabilities():
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    logits_BQV = np.broadcast_to(np.log(2 * probabilities), (50, 80, 4))  # need not be normalised
    keys_B = jax.random.split(jax.random.key(0), 50)

    def counts(sampling):
        tokens_BQ = draw(keys_B, np.arange(80), logits_BQV, sampling)
        return np.bincount(np.ravel(tokens_BQ), minlength=4)

    # At temperature 2 probabilities go as their square roots. Five standard deviations are allowed.
    flat = np.sqrt(probabilities) / np.sqrt(probabilities).sum()
    for temperature, p in ((1.0, probabilities), (2.0, flat)):
        error = np.abs(counts(Sampling.make(temperature)) - 4000 * p)
        assert (error < 5 * np.sqrt(4000 * p * (1 - p))).all()
    # And what a filter removes is never drawn.
    assert (counts(Sampling.make(top_k=2)) > 0).tolist() == [True, True, False, False]


def test_a_draw_depends_on_its_key_and_rank_alone():
    one = Sampling.make(4.0)
    tokens_BQ = np.asarray(draw(KEYS_B, RANKS_Q, LOGITS_BQV, one))
    last_BQ = draw(KEYS_B[1:], RANKS_Q[2:], LOGITS_BQV[1:, 2:], one)
    np.testing.assert_array_equal(last_BQ, tokens_BQ[1:, 2:])
    # The same logits everywhere: other keys and other ranks draw other tokens.
    same_BQ = np.asarray(draw(KEYS_B, RANKS_Q, np.zeros_like(LOGITS_BQV), one))
    assert len(np.unique(same_BQ)) > 5 and (same_BQ[0] != same_BQ[1]).any()
    later_BQ = np.asarray(draw(KEYS_B, RANKS_Q + 5, np.zeros_like(LOGITS_BQV), one))
    assert (later_BQ != same_BQ).mean() > 0.5


def test_numbers_do_not_retrace():
    traces = []

    @jax.jit
    def draw_guided(sampling, guidance):
        traces.append(sampling)
        scale_Q = guidance.scale_of_rank(jnp.asarray(RANKS_Q), 16)
        return sample_tokens(KEYS_B, RANKS_Q, LOGITS_BQV * scale_Q[None, :, None], sampling)

    for temperature, top_p, scale in ((1.0, 0.9, 2.0), (0.7, 0.8, 3), (2, 0.5, 1.5)):
        draw_guided(Sampling.make(temperature, 5, top_p), Guidance.make(scale))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": -0.1}, "temperature: got -0.1, allowed are numbers from 0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"temperature": float("inf")}, "temperature: got inf"),
        ({"top_k": -1}, "top_k: got -1, allowed are whole numbers from 0"),
        ({"top_k": 1.5}, "top_k: got 1.5"),
        ({"top_k": True}, "top_k: got True"),
        ({"top_p": 0}, "top_p: got 0, allowed are numbers above 0 and up to 1"),
        ({"top_p": 1.01}, "top_p: got 1.01"),
        ({"top_p": float("nan")}, "top_p: got nan"),
        ({"temperature": "hot"}, "temperature: got 'hot', allowed are numbers from 0"),
        ({"top_p": None}, "top_p: got None, allowed are numbers"),
    ],
)
def test_bad_sampling_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        Sampling.make(**choice)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((-1.0,), "guidance_scale: got -1.0, allowed are numbers from 0"),
        ((float("inf"),), "guidance_scale: got inf"),
        ((2.0, "cosine"), "guidance_schedule: got 'cosine', allowed are linear, constant"),
    ],
)
def test_bad_guidance_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        Guidance.make(*choice)
