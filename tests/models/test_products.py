"""Products of rows and weights: their values, and the gradients of both."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.models.family import transformer_of
from lpd_jax.models.products import PRODUCTS, wide_einsum
from tests import tiny


def rows_and_weights():
    rng = np.random.default_rng(0)
    rows_BTD = rng.standard_normal((3, 40, 24)).astype(np.float32)
    return rows_BTD, rng.standard_normal((24, 56)).astype(np.float32)


def with_gradients(name: str):
    rows_BTD, weights_DF = rows_and_weights()
    upstream_BTF = np.random.default_rng(1).standard_normal((3, 40, 56)).astype(np.float32)
    y_BTF, backward = jax.vjp(PRODUCTS[name], rows_BTD, weights_DF)
    return y_BTF, *backward(upstream_BTF), upstream_BTF


@pytest.mark.parametrize("name, rounding", [("plain", 1e-6), ("bfloat16", 1e-2)])
def test_products_and_gradients_are_those_of_matrices(name, rounding):
    rows_BTD, weights_DF = rows_and_weights()
    y_BTF, drows_BTD, dweights_DF, upstream_BTF = with_gradients(name)
    wanted = {
        "y": (y_BTF, rows_BTD @ weights_DF),
        "drows": (drows_BTD, upstream_BTF @ weights_DF.T),
        "dweights": (dweights_DF, np.einsum("BTD,BTF->DF", rows_BTD, upstream_BTF)),
    }
    for field, (got, want) in wanted.items():
        assert got.dtype == jnp.float32
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert error < rounding, field


def test_bfloat16_rows_and_weights_stay_so_and_are_summed_in_float32():
    rows_BTD, weights_DF = (jnp.asarray(x, jnp.bfloat16) for x in rows_and_weights())
    y_BTF, backward = jax.vjp(jax.jit(PRODUCTS["plain"]), rows_BTD, weights_DF)
    assert y_BTF.dtype == jnp.bfloat16
    want_BTF = rows_BTD.astype(float) @ weights_DF.astype(float)
    np.testing.assert_allclose(y_BTF.astype(float), want_BTF, rtol=2**-8, atol=1e-5)
    drows_BTD, dweights_DF = backward(jnp.ones_like(y_BTF))
    assert drows_BTD.dtype == dweights_DF.dtype == jnp.bfloat16
    want_BTD = jnp.broadcast_to(weights_DF.astype(float).sum(1), rows_BTD.shape)
    np.testing.assert_allclose(drows_BTD.astype(float), want_BTD, rtol=0.02, atol=0.1)


def test_bfloat16_products_round_their_factors_and_nothing_else():
    y_BTF, drows_BTD, dweights_DF, upstream_BTF = with_gradients("bfloat16")
    rows_BTD, weights_DF = (x.astype(jnp.bfloat16).astype(float) for x in rows_and_weights())
    upstream_BTF = upstream_BTF.astype(jnp.bfloat16).astype(float)
    np.testing.assert_allclose(y_BTF, rows_BTD @ weights_DF, atol=1e-4)
    np.testing.assert_allclose(drows_BTD, upstream_BTF @ weights_DF.T, atol=1e-4)
    want_DF = np.einsum("BTD,BTF->DF", rows_BTD, upstream_BTF)
    np.testing.assert_allclose(dweights_DF, want_DF, atol=1e-4)


def calm(params):
    """Matrices that keep the size of what they multiply.

    Of those that double it, scores are so large that attention picks one key or another by a
    rounding: gradients of ARPG's queries are then half noise, whatever computes them.
    """

    def halve(path, leaf):
        return leaf * np.float32(0.5) if path[-1].key == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(halve, params)


@pytest.mark.parametrize(
    "name",
    ["LPD", *(pytest.param(name, marks=pytest.mark.slow) for name in ("PAR", "RANDAR", "ARPG"))],
)
def test_a_model_of_bfloat16_products_learns_about_the_same(name):
    model = getattr(tiny, name)
    family, params = transformer_of(model), calm(tiny.random_params(model))
    rng = np.random.default_rng(0)
    tokens_BN = rng.integers(0, model.codebook_size, (4, model.num_tokens), dtype=np.int32)
    batch = {"tokens": tokens_BN, "labels": jnp.arange(4) % 3}

    def gradient(**options):
        loss = family.loss(False, **options)
        total = jax.jit(
            jax.grad(lambda params: loss(params, batch, jax.random.key(0))[0]),
            compiler_options=tiny.QUICK_TO_COMPILE,
        )
        return flatten_dict(total(params), sep="/")

    exact, rounded = gradient(), gradient(products="bfloat16", attention="recompute")
    for path, want in exact.items():
        if path != "blocks/qkv/bias":  # of keys it is rounding noise
            error = np.linalg.norm(rounded[path] - want)
            assert error <= 0.03 * np.linalg.norm(want), path  # 0.016 at most, of ARPG's queries
            assert error > 0 or not want.any(), path


def test_a_model_of_one_layer_has_products_that_a_cpu_knows():
    model = dataclasses.replace(tiny.LPD, num_layers=1)
    loss = transformer_of(model).loss(False, products="bfloat16", attention="recompute")
    tokens_BN, labels_B = jnp.zeros((2, model.num_tokens), jnp.int32), jnp.arange(2)
    batch = {"tokens": tokens_BN, "labels": labels_B}
    gradient = jax.jit(jax.grad(lambda params: loss(params, batch, jax.random.key(0))[0]))
    chex.assert_tree_all_finite(gradient(tiny.random_params(model)))


@pytest.mark.parametrize("spec", ["BNTK,BNMK->BNTM", "BNTM,BNMK->BNTK"])
def test_the_gradient_of_bfloat16_attention_has_no_float32_products(spec):
    rng = np.random.default_rng(0)
    sizes = dict(zip("BNTMK", (2, 3, 5, 6, 4), strict=True))
    axes, out = spec.split("->")
    shapes = [[sizes[axis] for axis in one] for one in (*axes.split(","), out)]
    left, right, dout = (jnp.asarray(rng.standard_normal(shape), jnp.bfloat16) for shape in shapes)
    dout = dout.astype(jnp.float32)

    def gradients(left, right):
        out, backward = jax.vjp(lambda *x: wide_einsum(spec, *x), left, right)
        assert out.dtype == jnp.float32
        return backward(dout)

    traced = jax.make_jaxpr(gradients)(left, right)
    products = [x for x in traced.eqns if x.primitive.name == "dot_general"]
    assert len(products) >= 2
    assert {value.aval.dtype for x in products for value in x.invars} == {jnp.dtype("bfloat16")}
    wide = [x.astype(jnp.float32) for x in (left, right)]
    _, backward = jax.vjp(lambda *x: wide_einsum(spec, *x), *wide)
    for got, want in zip(gradients(left, right), backward(dout), strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(got.astype(float), want, rtol=2**-7, atol=1e-2)
