"""A share of training orders that are locality-aware."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding.schedule import training_schedules
from lpd_jax.models import order_mix
from lpd_jax.models.family import transformer_of
from lpd_jax.models.order_mix import OrderMix, locality_mix, mix_orders
from tests import tiny

LISTS = training_schedules(tiny.LPD.num_tokens)


def known_mix(share: float) -> OrderMix:
    """Each list has one order, which says which list it is."""
    N = tiny.LPD.num_tokens
    orders_GON = np.stack([np.roll(np.arange(N), g)[None] for g in range(len(LISTS))])
    return OrderMix(share, np.array([s.num_steps for s in LISTS]), orders_GON.astype(np.int16))


def inputs_of(num_images: int, num_lists: int):
    tokens_BN = np.zeros((num_images, tiny.LPD.num_tokens), np.int32)
    labels_B = np.zeros(num_images, np.int32)
    family = transformer_of(tiny.LPD)
    return family.training_inputs(jax.random.key(0), tokens_BN, labels_B, True, num_lists)[0]


@pytest.mark.parametrize("num_lists", [1, 4])
def test_orders_are_those_of_the_images_own_list(num_lists):
    inputs = inputs_of(8, num_lists)
    mixed = mix_orders(known_mix(1.0), jax.random.key(1), inputs)
    steps_B = np.broadcast_to(np.asarray(inputs.group_N).max(-1) + 1, 8)
    for order_N, steps in zip(np.asarray(mixed.order_BN), steps_B, strict=True):
        place = [s.num_steps for s in LISTS].index(steps)
        np.testing.assert_array_equal(order_N, np.roll(np.arange(len(order_N)), place))


def test_a_share_of_the_images_is_replaced_and_the_rest_stays():
    inputs = inputs_of(400, 1)
    mixed = mix_orders(known_mix(0.25), jax.random.key(1), inputs)
    kept_B = (mixed.order_BN == inputs.order_BN).all(-1)
    assert 0.7 < kept_B.mean() < 0.8
    np.testing.assert_array_equal(mixed.group_N, inputs.group_N)
    none = mix_orders(known_mix(0.0), jax.random.key(1), inputs)
    np.testing.assert_array_equal(none.order_BN, inputs.order_BN)


def test_the_bank_holds_locality_aware_orders_of_every_list(monkeypatch):
    monkeypatch.setattr(order_mix, "ORDERS_OF_A_LIST", 3)
    mix = locality_mix(0.5, tiny.LPD.grid_size)
    family = transformer_of(tiny.LPD)
    assert mix.steps_G.tolist() == [s.num_steps for s in LISTS]
    for orders_ON, schedule in zip(mix.orders_GON, LISTS, strict=True):
        np.testing.assert_array_equal(orders_ON, family.orders("locality", schedule, 3))


@pytest.mark.slow
def test_other_random_numbers_of_a_step_stay_as_they_were():
    """Labels and lists are drawn as without a mix: its loss differs by the orders alone."""
    family, params = transformer_of(tiny.LPD), tiny.random_params(tiny.LPD)
    batch = {"tokens": jnp.ones((4, 16), jnp.int32), "labels": jnp.arange(4) % 3}
    key = jax.random.key(2)
    without, _ = family.loss(True)(params, batch, key)
    none, _ = family.loss(True, order_mix=known_mix(0.0))(params, batch, key)
    everything, _ = family.loss(True, order_mix=known_mix(1.0))(params, batch, key)
    assert without == none
    assert without != everything


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), "half"])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match="^locality_share: got"):
        locality_mix(share, (4, 4))
