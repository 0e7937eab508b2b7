"""Long scans over a large cache in parts that grow it: the same steps, and the same tokens."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding import scan, segments
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.segments import cut_schedule, in_parts
from lpd_jax.decoding.step_table import RowStrips, make_segments
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models.family import transformer_of
from tests import tiny

RASTER = GroupSchedule((1,) * 576)


@pytest.mark.parametrize(
    "bytes_of_slot, slots",
    [
        (0, [577]),
        (25_000, [577]),  # 4.2 GB in vain are not worth a scan
        (100_000, [193, 385, 577]),  # 16.6 GB
        (10**7, [145, 289, 433, 577]),  # not more than four
    ],
)
def test_scans_are_cut_by_what_they_read_in_vain(bytes_of_slot, slots):
    unseen_slots = 8e9 / bytes_of_slot if bytes_of_slot else math.inf
    parts = in_parts(make_segments(RASTER, 1), RASTER, unseen_slots)
    assert [one.num_slots for one in parts] == slots
    assert [one.first_step for one in parts] == [576 * i // len(slots) for i in range(len(slots))]
    assert sum(one.num_steps for one in parts) == 576


def test_short_scans_stay():
    schedule = GroupSchedule((1, *[5] * 51))
    whole = make_segments(schedule, 2)
    assert in_parts(whole, schedule, 1e-9) == whole


def test_nothing_is_cut_where_tokens_are_known():
    known = segments.Known(np.zeros((1, 8), np.int32), scan.make_step_table(RASTER))
    choices = RASTER, 1, 576, known, RowStrips(), False
    assert cut_schedule(*choices, 1e-9) == cut_schedule(*choices)


@pytest.mark.parametrize("parallel", [1, 4])
def test_parts_draw_the_same(parallel, monkeypatch):
    monkeypatch.setattr(segments, "LEAST_STEPS", 1)
    config = dataclasses.replace(tiny.PAR, num_parallel=parallel)
    params, family = tiny.random_params(config), transformer_of(config)
    order_N = jnp.arange(config.num_tokens)

    def draw(**choices):
        programs = []
        monkeypatch.setattr(jax.lax, "scan", lambda *a, **k: programs.append(1) or plain(*a, **k))
        drawn = generate_ranked_tokens(
            config,
            params,
            jnp.array([0, 2]),
            jnp.stack([order_N, order_N]),
            image_keys(0, 0, 2),
            schedule=family.schedule(None),
            sampling=Sampling.make(),
            guidance=Guidance.make(3.0),
            keep_logits=True,
            **choices,
        )
        return drawn, len(programs)

    plain = jax.lax.scan
    (tokens_BN, logits_BNV), few = draw()
    (cut_tokens_BN, cut_logits_BNV), more = draw(unseen_bytes=1.0)
    assert more > few
    np.testing.assert_array_equal(cut_tokens_BN, tokens_BN)
    np.testing.assert_allclose(cut_logits_BNV, logits_BNV, rtol=1e-5, atol=1e-5)


def test_a_slot_is_as_large_as_all_layers_of_the_batch():
    config = tiny.PAR
    labels_R = jnp.zeros(6, jnp.int32)
    family = transformer_of(config)
    _, cache = family.decoder(
        tiny.random_params(config), labels_R, family.schedule(None), "float32"
    )
    assert scan.bytes_of_slot(cache) == 6 * config.num_layers * 2 * config.embed_dim * 4
