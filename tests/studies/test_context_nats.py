"""Nats of real pictures in the contexts that orders and schedules make."""

import numpy as np
import pytest

from lpd_jax.studies.context_nats import context_nats
from tests import tiny


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(tiny.LPD.codebook_size, size=(4, 16), dtype=np.int32)
    return tokens_BN, np.arange(4, dtype=np.int32) % 3


def test_a_model_that_knows_nothing_needs_all_nats_in_every_context(pictures):
    params = tiny.random_params(tiny.LPD)
    params["head"]["kernel"] = np.zeros_like(params["head"]["kernel"])
    nats = context_nats(tiny.LPD, params, *pictures, ("random", "raster"), (16, 4), batch_size=2)
    assert {*nats} == {(kind, steps) for kind in ("random", "raster") for steps in (16, 4)}
    np.testing.assert_allclose([*nats.values()], np.log(tiny.LPD.codebook_size), rtol=1e-5)


def test_contexts_differ_and_batches_do_not_matter(pictures):
    params = tiny.random_params(tiny.LPD)
    choices = ("locality", "raster"), (4,)
    nats = context_nats(tiny.LPD, params, *pictures, *choices, batch_size=4)
    halves = context_nats(tiny.LPD, params, *pictures, *choices, batch_size=2)
    assert len({*nats.values()}) == 2
    for context, value in nats.items():
        np.testing.assert_allclose(halves[context], value, rtol=1e-5)
