"""Weights by output: the same products and tokens, and where they lie so."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.decoding.device_choices import Device
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.generation.generate import generate_ranked_tokens, image_keys
from lpd_jax.models import weight_layout
from lpd_jax.models.dense import BY_OUTPUT
from lpd_jax.models.family import transformer_of
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.products import MOST_TURNED, product_by_output
from lpd_jax.performance.compile_report import params_everywhere
from tests import tiny

FAMILIES = {"lpd": tiny.LPD, "par": tiny.PAR, "randar": tiny.RANDAR, "arpg": tiny.ARPG}
# One, fewer and more than half a strip, not whole strips, more than are turned.
ROWS = (1, 5, 12, 40, MOST_TURNED + 3)


@pytest.fixture
def by_output(monkeypatch):
    """As on a processor that likes it, and for the matrices of tiny models."""
    monkeypatch.setattr(weight_layout, "LEAST_SIDE", tiny.LPD.embed_dim)
    monkeypatch.setattr(weight_layout, "by_output_is_faster", lambda: True)


@pytest.mark.parametrize("num_rows", ROWS)
@pytest.mark.parametrize("dtype, rounding", [(jnp.float32, 1e-6), (jnp.bfloat16, 2**-8)])
def test_products_by_output_are_those_of_matrices(num_rows, dtype, rounding):
    rng = np.random.default_rng(0)
    rows_BTD = jnp.asarray(rng.standard_normal((1, num_rows, 24)), dtype)
    weights_FD = jnp.asarray(rng.standard_normal((56, 24)), dtype)
    y_BTF = jax.jit(product_by_output)(rows_BTD, weights_FD)
    chex.assert_shape(y_BTF, (1, num_rows, 56))
    assert y_BTF.dtype == dtype
    want_BTF = np.asarray(rows_BTD, float) @ np.asarray(weights_FD, float).T
    error = np.linalg.norm(np.asarray(y_BTF, float) - want_BTF) / np.linalg.norm(want_BTF)
    assert error < rounding


def draw(config, params):
    """Tokens and guided logits of two images."""
    family = transformer_of(config)
    schedule, order_N = family.schedule(None), jnp.arange(config.num_tokens)
    return generate_ranked_tokens(
        config,
        params,
        jnp.array([0, 2]),
        jnp.stack([order_N, order_N]),
        image_keys(0, 0, 2),
        schedule=schedule,
        sampling=Sampling.make(),
        guidance=Guidance.make(3.0),
        num_segments=1 if family.any_order else None,
        keep_logits=True,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_draws_the_same_and_saves_what_it_was_given(name, by_output):
    config = FAMILIES[name]
    params = tiny.random_params(config)
    family = transformer_of(config)
    laid = family.for_drawing(params)
    kernels = [path for path in flatten_dict(params, sep="/") if path.endswith("kernel")]
    leaves = jax.tree_util.tree_leaves_with_path(laid)
    turned = [path for path, _ in leaves if path[-1] == jax.tree_util.DictKey(BY_OUTPUT)]
    assert len(turned) >= len(kernels)  # one a layer, and the head
    chex.assert_trees_all_equal(family.for_saving(jax.device_get(laid)), params)
    assert (weight_layout.row_strip(params), weight_layout.row_strip(laid)) == (1, 32)
    tokens_BN, logits_BNV = draw(config, laid)
    want_tokens_BN, want_logits_BNV = draw(config, params)
    np.testing.assert_array_equal(tokens_BN, want_tokens_BN)
    np.testing.assert_allclose(logits_BNV, want_logits_BNV, atol=1e-4)


def test_only_a_cpu_is_measured_and_only_for_large_matrices(monkeypatch):
    asked = []
    monkeypatch.setattr(weight_layout, "remembered", lambda *_: asked.append(1) or 2.0)
    monkeypatch.setattr(weight_layout, "target_device", lambda: Device("cpu"))
    small = {"up": {"kernel": np.ones((511, 600), np.float32)}}
    assert weight_layout.lay_out(small) is small and not asked
    large = {"up": {"kernel": np.ones((512, 600), np.float32), "bias": np.ones(600, np.float32)}}
    laid = weight_layout.lay_out(large)
    assert laid["up"].keys() == {BY_OUTPUT, "bias"} and len(asked) == 1
    chex.assert_trees_all_equal(weight_layout.lay_back(laid), large)
    monkeypatch.setattr(weight_layout, "target_device", lambda: Device("gpu", (9, 0)))
    assert weight_layout.lay_out(large) is large and len(asked) == 1


def test_a_gain_is_measured_inside_a_trace_too(monkeypatch):
    monkeypatch.setattr(weight_layout, "TRIAL_SHAPE", (8, 16))
    gains = []
    jax.eval_shape(lambda: gains.append(weight_layout.measure_gain()))
    assert gains[0] > 0


def test_programs_for_a_described_device_are_given_weights_as_they_lie_there(monkeypatch):
    def described() -> Device:
        meshed = not jax.sharding.get_abstract_mesh().empty
        return Device("tpu" if meshed else "cpu")

    monkeypatch.setattr(weight_layout, "LEAST_SIDE", tiny.LPD.embed_dim)
    monkeypatch.setattr(weight_layout, "target_device", described)
    monkeypatch.setattr(weight_layout, "remembered", lambda *_: 2.0)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    params = params_everywhere(tiny.LPD, jnp.bfloat16, mesh)
    assert weight_layout.row_strip(params) == 1
    here = jax.eval_shape(transformer_of(tiny.LPD).for_drawing, abstract_params(tiny.LPD))
    assert weight_layout.row_strip(here) == 32
