"""The cache that attention reads."""

import jax.numpy as jnp

from lpd_jax.models.layers import CacheWrite, KVCache, write_cache


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
