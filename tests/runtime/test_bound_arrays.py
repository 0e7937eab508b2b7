"""Arrays bound to a function are inputs of what is compiled of it."""

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.runtime.bound_arrays import compile_with
from lpd_jax.runtime.mesh import MeshConfig, make_mesh


def shift(weights, state, x):
    return state + x @ weights, x.sum()


def test_bound_arrays_are_inputs_and_not_constants():
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    state, x = np.ones((2, 64), np.float32), np.ones((2, 64), np.float32)
    mesh = make_mesh(MeshConfig())
    for on in (None, mesh):
        compiled = compile_with(jax.tree_util.Partial(shift, weights), on)
        np.testing.assert_allclose(compiled(state, x)[0], state + x @ weights, rtol=1e-5)
        assert len(compiled.lower(state, x).as_text()) < weights.size
        assert len(compiled.trace(state, x).jaxpr.in_avals) == 3
    leaf = compiled.first.args[0]
    assert leaf.sharding.is_fully_replicated and leaf.sharding.num_devices == mesh.size > 1
    constant = jax.jit(lambda state, x: shift(weights, state, x)).lower(state, x)
    assert len(constant.as_text()) > weights.size  # what is avoided


def test_options_are_those_of_the_function_itself():
    compiled = compile_with(jax.tree_util.Partial(shift, np.eye(4)), donate_argnums=0)
    state, x = jnp.ones((2, 4)), jnp.ones((2, 4))
    np.testing.assert_allclose(compiled(state, x)[0], 2.0)
    assert state.is_deleted() and not x.is_deleted()
    plain = compile_with(lambda state: state + 1, donate_argnums=0)
    state = jnp.ones(3)
    np.testing.assert_allclose(plain(state), 2.0)
    assert state.is_deleted()
