"""The scan, proven on a toy model of whole numbers: what is fed back, asked for and written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known, StepRows, decode_tokens, to_raster
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.decoding.step_table import table_of_sizes

CODES = 13
GREEDY, UNGUIDED = Sampling.make(0), Guidance.make()
LABELS = np.array([4, 9, 2])


def toy_step(rows: StepRows, cache_R1M1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each query's code is a checksum of all that it may see: class, tokens, queries, positions."""
    is_class_P = rows.previous_slots_P == 0
    fed_RP = (rows.previous_tokens_RP + 1) * (rows.previous_positions_RP + 3)
    fed_RP = jnp.where(is_class_P[None], LABELS[: len(fed_RP), None], fed_RP)
    for rows_RT, start in (
        (fed_RP, rows.previous_slots_P[0]),
        (1000 + rows.query_positions_RQ, rows.query_start),
    ):
        rows_R1T1 = rows_RT[:, None, :, None].astype(cache_R1M1.dtype)
        cache_R1M1 = jax.lax.dynamic_update_slice_in_dim(cache_R1M1, rows_R1T1, start, axis=2)
    seen_QM = rows.mask_TM[fed_RP.shape[1] :]
    checksum_RQ = jnp.einsum("RM,QM->RQ", cache_R1M1[:, 0, :, 0], seen_QM.astype(jnp.int32))
    code_RQ = (7 * checksum_RQ + 5 * rows.query_positions_RQ) % CODES
    return jax.nn.one_hot(code_RQ, CODES), cache_R1M1


def toy_tokens(label: int, order: np.ndarray, sizes: tuple[int, ...], known=()) -> list[int]:
    """The same, group by group, without padding, cache or scan."""
    tokens: list[int] = list(known)
    for size in sizes:
        asked = order[len(tokens) : len(tokens) + size]
        seen = label + sum((t + 1) * (p + 3) for t, p in zip(tokens, order, strict=False))
        seen += sum(1000 + p for p in asked)
        tokens += [int((7 * seen + 5 * p) % CODES) for p in asked]
    return tokens


def random_orders(num_tokens: int) -> np.ndarray:
    random = np.random.default_rng(num_tokens)
    return np.stack([random.permutation(num_tokens) for _ in LABELS]).astype(np.int32)


def decode(step, order_BN, schedule, guidance=UNGUIDED, **choices):
    keys_B = jax.random.split(jax.random.key(0), len(order_BN))
    rows = len(order_BN) * (2 if guidance.active else 1)
    choices = {"schedule": schedule, "guidance": guidance, "sampling": GREEDY, **choices}

    @jax.jit
    def run(order_BN, keys_B):
        cache = jnp.zeros((rows, 1, 0, 1), jnp.int32)
        return decode_tokens(step, cache, order_BN, keys_B, **choices)

    return run(order_BN, keys_B)


@pytest.mark.parametrize(
    ("sizes", "num_segments"),
    [
        ((1, 3, 5, 7), None),
        ((2, 1, 6, 3, 4), 2),
        ((2, 1, 6, 3, 4), 9),
        ((7, 1, 1, 1), 1),
        ((7, 1, 1, 1), 2),
        ((1, 7, 1, 1), 3),
        ((5,), None),
        ((1, 1, 1), None),
    ],
)
def test_tokens_are_those_of_a_plain_loop(sizes, num_segments):
    schedule = GroupSchedule(sizes)
    order_BN = random_orders(schedule.num_tokens)
    tokens_BN, logits = decode(toy_step, order_BN, schedule, num_segments=num_segments)
    assert logits is None and tokens_BN.dtype == jnp.int32
    want = [toy_tokens(*pair, sizes) for pair in zip(LABELS, order_BN, strict=True)]
    np.testing.assert_array_equal(tokens_BN, want)


@pytest.mark.parametrize("num_segments", [1, 2, 9])
@pytest.mark.parametrize(("num_known", "most_known"), [(5, 5), (5, 8), (1, 4), (15, 16)])
def test_known_tokens_stay_and_the_rest_is_that_of_a_plain_loop(
    num_known, most_known, num_segments
):
    """Toy tokens see sums, so of known ones it does not matter in which groups they came."""
    order_BN = random_orders(16)
    true_BN = np.random.default_rng(0).integers(0, CODES, (3, 16), dtype=np.int32)
    left = 16 - num_known
    sizes = ((1, left - 1) if left > 1 else (0, 1))[-3:]
    known = Known(true_BN[:, :most_known], table_of_sizes(sizes, num_known))
    wider = GroupSchedule((2, left + 1))
    tokens_BN, _ = decode(toy_step, order_BN, wider, num_segments=num_segments, known=known)
    np.testing.assert_array_equal(tokens_BN[:, :num_known], true_BN[:, :num_known])
    want = [
        toy_tokens(label, order_N, tuple(filter(None, sizes)), true_N[:num_known])
        for label, order_N, true_N in zip(LABELS, order_BN, true_BN, strict=True)
    ]
    np.testing.assert_array_equal(tokens_BN, want)


def test_the_published_20_steps():
    schedule = make_schedule(256, 20)
    order_BN = random_orders(256)
    tokens_BN, _ = decode(toy_step, order_BN, schedule)
    want = [toy_tokens(*pair, schedule.group_sizes) for pair in zip(LABELS, order_BN, strict=True)]
    np.testing.assert_array_equal(tokens_BN, want)


def test_kept_logits_belong_to_their_tokens():
    schedule = GroupSchedule((2, 1, 6, 3, 4))
    tokens_BN, logits_BNV = decode(
        toy_step, random_orders(16), schedule, num_segments=2, keep_logits=True
    )
    assert logits_BNV.shape == (3, 16, CODES)
    np.testing.assert_array_equal(logits_BNV.argmax(-1), tokens_BN)


@pytest.mark.parametrize("name", ["linear", "constant"])
def test_guidance_joins_the_two_rows_of_each_image(name):
    def step(rows, cache):
        rows_R = len(rows.query_positions_RQ)
        # In pairs: conditional rows say 1, their twins say 0.25.
        says_R = jnp.where(jnp.arange(rows_R) % 2 == 0, 1.0, 0.25)
        shape = (*rows.query_positions_RQ.shape, CODES)
        return jnp.broadcast_to(says_R[:, None, None], shape), cache

    schedule = GroupSchedule((1, 3, 5, 7))
    guidance = Guidance.make(3.0, name)
    _, logits_BNV = decode(step, random_orders(16), schedule, guidance, keep_logits=True)
    scale_N = 1 + 2 * np.arange(16) / 16 if name == "linear" else np.full(16, 3.0)
    want = np.broadcast_to((0.25 + scale_N * 0.75)[None, :, None], (3, 16, CODES))
    np.testing.assert_allclose(logits_BNV, want, rtol=1e-6)


def test_every_image_has_its_own_noise():
    def step(rows, cache):
        return jnp.zeros((*rows.query_positions_RQ.shape, CODES)), cache

    order_BN, one = random_orders(16), Sampling.make()
    tokens = [
        np.asarray(decode(step, order_BN, GroupSchedule(sizes), sampling=one, num_segments=k)[0])
        for sizes, k in (((1, 3, 5, 7), 1), ((1, 3, 5, 7), 4), ((16,), 1))
    ]
    # Of an image's key and the rank alone: neither padding nor grouping moves a draw.
    np.testing.assert_array_equal(tokens[0], tokens[1])
    np.testing.assert_array_equal(tokens[0], tokens[2])
    assert (tokens[0][0] != tokens[0][1]).any() and len(np.unique(tokens[0][0])) > 4


def test_back_to_raster_order():
    order_BN = random_orders(6)
    grid_BN = np.arange(18).reshape(3, 6)
    ranked_BN = np.take_along_axis(grid_BN, order_BN, axis=1)
    np.testing.assert_array_equal(to_raster(jnp.asarray(ranked_BN), order_BN), grid_BN)


def test_a_schedule_of_other_tokens_is_refused():
    with pytest.raises(ValueError, match="group sizes that sum to 4, allowed is the 16 tokens"):
        decode(toy_step, random_orders(16), GroupSchedule((1, 3)))
    with pytest.raises(ValueError, match="num_segments: got 0, allowed are whole numbers from 1"):
        decode(toy_step, random_orders(16), GroupSchedule((1, 15)), num_segments=0)
    for schedule, message in (
        (GroupSchedule((12,)), "known: got 2 steps after at most 5 tokens, allowed are .* 1, "),
        (GroupSchedule((1, 9)), "known: got 2 steps .* draw at most 10 of 16 tokens"),
    ):
        known = Known(np.zeros((3, 5), np.int32), table_of_sizes((1, 10), 5))
        with pytest.raises(ValueError, match=message):
            decode(toy_step, random_orders(16), schedule, known=known)
