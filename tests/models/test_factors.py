"""Which factor comes first, where weights lie by output: the same products, chosen on CPUs."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.device_choices import Device
from lpd_jax.models import factors, products


@pytest.mark.parametrize("dtype, rounding", [(jnp.float32, 1e-6), (jnp.bfloat16, 1e-6)])
def test_both_orders_give_the_product(dtype, rounding):
    rng = np.random.default_rng(0)
    x_RD, w_FD = (jnp.asarray(rng.standard_normal(shape), dtype) for shape in ((5, 24), (56, 24)))
    want_RF = np.asarray(x_RD, float) @ np.asarray(w_FD, float).T
    for product in (factors.rows_first, factors.weights_first):
        y_RF = jax.jit(product)(x_RD, w_FD)
        assert y_RF.dtype == jnp.float32
        error = np.linalg.norm(np.asarray(y_RF, float) - want_RF) / np.linalg.norm(want_RF)
        assert error < rounding


@pytest.mark.parametrize("is_faster", [False, True])
def test_few_rows_in_bfloat16_are_second_where_that_is_faster(is_faster, monkeypatch):
    orders = []

    def noted(name):
        product = getattr(factors, name)
        return lambda *rows_and_weights: orders.append(name) or product(*rows_and_weights)

    monkeypatch.setattr(products, "halves_as_second_are_faster", lambda: is_faster)
    for name in ("rows_first", "weights_first"):
        monkeypatch.setattr(products, name, noted(name))
    w_FD = jnp.ones((8, 4), jnp.bfloat16)
    few, many = products.MOST_TURNED_HALVES, products.MOST_TURNED_HALVES + 1
    for num_rows in (1, few, many):
        y_RF = products.product_by_output(jnp.ones((num_rows, 4), jnp.bfloat16), w_FD)
        chex.assert_trees_all_equal(y_RF, jnp.full((num_rows, 8), 4, jnp.bfloat16))
    of_few = "weights_first" if is_faster else "rows_first"
    assert orders == [of_few, of_few, "rows_first"]


@pytest.mark.parametrize("gain, is_faster", [(1.3, True), (0.4, False)])
def test_only_a_cpu_is_measured(gain, is_faster, monkeypatch):
    asked = []
    monkeypatch.setattr(factors, "remembered", lambda *_: asked.append(1) or gain)
    monkeypatch.setattr(factors, "target_device", lambda: Device("cpu"))
    assert factors.halves_as_second_are_faster() == is_faster and len(asked) == 1
    monkeypatch.setattr(factors, "target_device", lambda: Device("gpu", (9, 0)))
    assert factors.halves_as_second_are_faster() and len(asked) == 1


def test_a_gain_is_measured_inside_a_trace_too(monkeypatch):
    monkeypatch.setattr(factors, "TRIAL_SHAPE", (8, 16))
    gains = []
    jax.eval_shape(lambda: gains.append(factors.measure_gain()))
    assert gains[0] > 0
