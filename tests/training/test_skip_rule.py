"""RandAR's rule: a gradient far above the usual changes nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lpd_jax.training.optimizer import OptimizerConfig, make_optimizer
from lpd_jax.training.skip_rule import FIRST_STEPS, skip_large, sum_of_norms
from tests import golden_models as official

PARAMS = {"blocks": {"kernel": jnp.zeros((2, 2))}, "head": {"kernel": jnp.zeros((2, 2))}}
SMALL, LARGE = (jax.tree.map(lambda leaf, c=c: leaf + c, PARAMS) for c in (0.5, 2.0))


def test_norms_are_summed_tensor_by_tensor():
    """Of two stacked layers of two numbers, and of one matrix of four."""
    np.testing.assert_allclose(sum_of_norms(SMALL), 2 * 0.5**0.5 + 1, rtol=1e-6)


def test_the_sum_is_the_official_one():
    grads = official.load("randar_grads_dev")
    by_name = dict(zip(grads["train/grad_names"], grads["train/grad_norms"], strict=True))
    tree = {str(name): jnp.asarray(norm)[None] for name, norm in by_name.items()}
    np.testing.assert_allclose(sum_of_norms(tree), grads["train/grad_sum_of_norms"], rtol=1e-5)


def test_large_steps_are_left_out_once_the_first_are_over():
    optimizer = skip_large(optax.adam(0.1), most=4.0)
    state = optimizer.init(PARAMS)
    assert sum_of_norms(SMALL) < 4 < sum_of_norms(LARGE)
    update = jax.jit(optimizer.update)
    updates, state = update(LARGE, state)
    assert jax.tree.leaves(updates)[0].any()  # one of the first
    state = state._replace(step=jnp.asarray(FIRST_STEPS))
    updates, after = update(LARGE, state)
    chex.assert_trees_all_equal(updates, PARAMS)  # zeros
    chex.assert_trees_all_equal(after.inner, state.inner)
    assert after.step == state.step + 1
    updates, after = update(SMALL, after)
    plain, _ = optax.adam(0.1).update(SMALL, state.inner)
    chex.assert_trees_all_close(updates, plain)


def test_without_the_rule_the_optimizer_is_as_it_was():
    plain = make_optimizer(OptimizerConfig(), 10).init(PARAMS)
    ruled = make_optimizer(OptimizerConfig(skip_norm_sum=10.0), 10).init(PARAMS)
    chex.assert_trees_all_equal(ruled[1].inner, plain[1])
    with pytest.raises(ValueError, match=r"^optimizer.skip_norm_sum: got -1.0, allowed is 0"):
        OptimizerConfig(skip_norm_sum=-1.0)
