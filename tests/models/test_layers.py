"""Attention through a mask, whole and in two parts, and the cache it reads."""

import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.models.layers import CacheWrite, KVCache, attend, attend_in_two, write_cache


def random_rows(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(sum(shape)).standard_normal(shape)).astype(np.float32)


def test_attention_is_softmax_over_what_the_mask_allows():
    q_BNTK, k_BNMK = random_rows(2, 3, 4, 8, scale=3), random_rows(2, 3, 6, 8, scale=3)
    v_BNMK = random_rows(2, 3, 6, 8)
    mask_TM = np.arange(6)[None] <= np.arange(4)[:, None]
    scores_BNTM = np.einsum("BNTK,BNMK->BNTM", q_BNTK, k_BNMK).astype(np.float64) / np.sqrt(8)
    weights_BNTM = np.where(mask_TM, np.exp(scores_BNTM), 0)
    weights_BNTM /= weights_BNTM.sum(-1, keepdims=True)
    want_BNTK = np.einsum("BNTM,BNMK->BNTK", weights_BNTM, v_BNMK)
    np.testing.assert_allclose(attend(q_BNTK, k_BNMK, v_BNMK, mask_TM), want_BNTK, atol=1e-5)
    # What nobody sees may be anything, and large scores do not overflow.
    v_BNMK[:, :, 4:] = 1e30
    huge_BNTK = attend(q_BNTK * 1e4, k_BNMK, v_BNMK, mask_TM)
    best = np.where(mask_TM, scores_BNTM, -np.inf).argmax(-1)
    np.testing.assert_allclose(huge_BNTK, np.take_along_axis(v_BNMK, best[..., None], 2), atol=1e-5)


def test_attention_in_two_is_attention():
    mask_TT = teacher_forcing_mask(GroupSchedule((1, 2, 3)).group_of_rank())
    q_BNTK, k_BNTK, v_BNTK = (random_rows(2, n, 12, 8)[:, :2] for n in (2, 3, 4))
    whole_BNTK = attend(q_BNTK, k_BNTK, v_BNTK, mask_TT)
    in_two_BNTK = attend_in_two(q_BNTK, k_BNTK, v_BNTK, mask_TT, num_context=6)
    np.testing.assert_allclose(in_two_BNTK, whole_BNTK, atol=1e-6)


def test_attention_keeps_the_dtype_of_the_values():
    rows = jnp.asarray(random_rows(1, 1, 3, 4), jnp.bfloat16)
    assert attend(rows, rows, rows, jnp.ones((3, 3), bool)).dtype == jnp.bfloat16


def test_queries_overwrite_the_padding_of_the_previous_group():
    empty_BNMK = jnp.full((1, 1, 7, 1), -1.0)
    # One previous row and two of padding, then two queries that borrow slots 2 and 3.
    rows_BNTK = jnp.arange(5.0).reshape(1, 1, 5, 1)
    write = CacheWrite(jnp.int32(1), jnp.int32(2), num_previous=3)
    cache = write_cache(KVCache(empty_BNMK, empty_BNMK), rows_BNTK, 10 * rows_BNTK, write)
    assert cache.k_BNMK.ravel().tolist() == [-1, 0, 3, 4, -1, -1, -1]
    assert cache.v_BNMK.ravel().tolist() == [-1, 0, 30, 40, -1, -1, -1]
    # The next step feeds those two back where the queries were.
    write = CacheWrite(jnp.int32(2), jnp.int32(4), num_previous=2)
    cache = write_cache(cache, 7 + rows_BNTK, rows_BNTK, write)
    assert cache.k_BNMK.ravel().tolist() == [-1, 0, 7, 8, 9, 10, 11]
