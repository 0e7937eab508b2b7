"""The form that cached passes have on a GPU, on the CPU: what it computes is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding import device_choices
from lpd_jax.decoding.device_choices import Device
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.segments import Known, with_room
from lpd_jax.decoding.step_table import make_segments, make_step_table, table_of_sizes
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models import par
from lpd_jax.models.family import transformer_of
from lpd_jax.models.layers import CacheWrite, KVCache, write_groups
from tests import tiny

BATCH = 2
OLD_GPU = Device("gpu", (7, 5))  # without flash attention, which a CPU cannot trace


def on_a_gpu(monkeypatch, run):
    with monkeypatch.context() as patch:
        patch.setattr(device_choices, "target_device", lambda: OLD_GPU)
        jax.clear_caches()
        outputs = run()
    jax.clear_caches()
    return outputs


def draw(config, params):
    """The likeliest tokens and their guided logits, in the family's own steps."""
    family = transformer_of(config)
    schedule = family.schedule()
    drawn = generate_ranked_tokens(
        config,
        params,
        np.arange(BATCH),
        family.orders(None, schedule, BATCH),
        image_keys(0, 0, BATCH),
        schedule=schedule,
        sampling=Sampling.make(temperature=0),
        guidance=Guidance.make(3.0),
        keep_logits=True,
    )
    return jax.device_get(drawn)


@pytest.mark.parametrize(
    "config",
    [
        tiny.LPD,
        *(pytest.param(x, marks=pytest.mark.slow) for x in (tiny.PAR, tiny.RANDAR, tiny.ARPG)),
    ],
)
def test_every_family_draws_the_same_tokens(monkeypatch, config):
    params = tiny.random_params(config)

    def run():
        return draw(config, params)

    tokens_BN, logits_BNV = run()
    gpu_BN, gpu_BNV = on_a_gpu(monkeypatch, run)
    np.testing.assert_array_equal(gpu_BN, tokens_BN)
    np.testing.assert_allclose(gpu_BNV, logits_BNV, atol=1e-4)


def test_a_cache_of_wider_heads_draws_the_same(monkeypatch):
    """As cuDNN has the heads of PAR-3B, which are 100 wide."""
    params = tiny.random_params(tiny.PAR)
    tokens_BN, logits_BNV = draw(tiny.PAR, params)
    widths = []
    jax.clear_caches()
    monkeypatch.setattr(
        par, "cached_head_dim", lambda dtype, head_dim: widths.append(head_dim) or head_dim + 4
    )
    wide_BN, wide_BNV = draw(tiny.PAR, params)
    jax.clear_caches()
    assert widths == [tiny.PAR.embed_dim // tiny.PAR.num_heads]
    np.testing.assert_array_equal(wide_BN, tokens_BN)
    np.testing.assert_allclose(wide_BNV, logits_BNV, atol=1e-4)


@pytest.mark.parametrize("config", [tiny.LPD, tiny.RANDAR])
@pytest.mark.parametrize(
    ("num_known", "now"),
    [(9, (0, 3, 4)), pytest.param(2, (1, 3, 10), marks=pytest.mark.slow)],
)
def test_pictures_are_edited_alike(monkeypatch, config, num_known, now):
    """Known tokens come first; where steps begin is data then, and the cache has room for all.

    Where few tokens are left, the first step may draw none, and the next feeds none back.
    """
    most_known, schedule = 9, GroupSchedule((1, 3, 10))
    params = tiny.random_params(config)
    true_BN = np.random.default_rng(7).integers(config.codebook_size, size=(BATCH, 16))
    known = Known(true_BN[:, :most_known].astype(np.int32), table_of_sizes(now, num_known))

    def run():
        return generate_ranked_tokens(
            config,
            params,
            np.arange(BATCH),
            np.stack([np.random.default_rng(i).permutation(16) for i in range(BATCH)]),
            image_keys(0, 0, BATCH),
            schedule=schedule,
            sampling=Sampling.make(temperature=0),
            guidance=Guidance.make(),
            known=known,
        )[0]

    tokens_BN = np.asarray(run())
    np.testing.assert_array_equal(tokens_BN[:, :num_known], true_BN[:, :num_known])
    np.testing.assert_array_equal(on_a_gpu(monkeypatch, run), tokens_BN)


@pytest.mark.parametrize(
    "num_segments", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 8))]
)
def test_one_write_puts_what_two_put_where_anybody_looks(monkeypatch, num_segments):
    schedule = GroupSchedule((1, 1, 2, 3, 2, 5, 4, 6))
    table = make_step_table(schedule)
    segments = on_a_gpu(
        monkeypatch, lambda: with_room(make_segments(schedule, num_segments), schedule, None)
    )
    for segment in segments:
        empty = jnp.full((1, 1, segment.num_slots, 1), -1.0)
        two = one = KVCache(empty, empty)
        P, T = segment.previous_width, segment.previous_width + segment.query_width
        for step in range(segment.first_step, segment.first_step + segment.num_steps):
            previous_start, query_start, query_end = (int(column[step]) for column in table)
            rows_BNTK = 100.0 * (1 + step) + jnp.arange(T, dtype=float).reshape(1, 1, T, 1)
            write = CacheWrite(jnp.int32(previous_start), jnp.int32(query_start), P)

            def put(cache, rows=rows_BNTK, write=write):
                return write_groups(cache, rows, -rows, write)

            two, one = put(two), on_a_gpu(monkeypatch, lambda put=put, one=one: put(one))
            for name in KVCache._fields:
                seen = [getattr(x, name).ravel()[:query_end].tolist() for x in (one, two)]
                assert seen[0] == seen[1]


def test_rows_of_a_step_are_padded_where_a_family_can(monkeypatch):
    schedule, params = GroupSchedule((1, 4, 5, 6)), tiny.random_params(tiny.LPD)
    scan, *_ = segments = make_segments(schedule, 1)
    padded, plain = on_a_gpu(
        monkeypatch,
        lambda: [with_room(segments, schedule, None, pads)[0] for pads in (True, False)],
    )
    assert (scan.previous_width, scan.query_width) == (5, 6)
    assert (padded.previous_width, padded.query_width, plain.query_width) == (5, 7, 6)
    # All rows of the last step, which begins at slot 6 with the previous group.
    assert padded.num_slots >= 6 + 5 + 7
    family = transformer_of(tiny.LPD)
    assert family.pads_queries and not transformer_of(tiny.PAR).pads_queries

    def run():
        return generate_ranked_tokens(
            tiny.LPD,
            params,
            np.arange(BATCH),
            family.orders(None, schedule, BATCH),
            image_keys(0, 0, BATCH),
            schedule=schedule,
            sampling=Sampling.make(),
            guidance=Guidance.make(3.0),
        )[0]

    tokens_BN = np.asarray(run())
    np.testing.assert_array_equal(on_a_gpu(monkeypatch, run), tokens_BN)
