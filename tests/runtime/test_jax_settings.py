"""What is ours computes alike, whatever a program around it has set in JAX."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.runtime import jax_settings
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.jax_settings import own_settings

AXES = jax.sharding.AxisType


def mesh(kind):
    return jax.make_mesh((jax.device_count(),), ("theirs",), axis_types=(kind,))


# Each begins when it is entered: `jax.set_mesh` already when it is called.
SETTINGS = {
    "mesh": lambda: jax.set_mesh(mesh(AXES.Auto)),
    "explicit_mesh": lambda: jax.set_mesh(mesh(AXES.Explicit)),
    "guard": lambda: jax.transfer_guard("disallow"),
    "no_jit": jax.disable_jit,
    "64_bits": lambda: jax.enable_x64(True),
    "strict_types": lambda: jax.numpy_dtype_promotion("strict"),
    "other_threefry": lambda: jax.threefry_partitionable(False),
    "used_keys": lambda: jax.debug_key_reuse(True),
}


@own_settings()
def draw():
    def step(carry, rank):
        return carry, jax.random.normal(jax.random.fold_in(key, rank)) * 1.5

    key = jax.random.key(0)
    compiled = jax.jit(lambda n: jax.lax.scan(step, 0, jnp.arange(3) + n)[1]).lower(1).compile()
    return np.asarray(compiled(np.int64(1)))


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_others_do_not_reach_inside_and_are_back_afterwards(setting):
    expected, before = draw(), jax.sharding.get_abstract_mesh()
    with SETTINGS[setting]():
        theirs = jax.sharding.get_abstract_mesh()
        np.testing.assert_array_equal(draw(), expected)
        assert jax.sharding.get_abstract_mesh() == theirs
    assert jax.sharding.get_abstract_mesh() == before


@pytest.mark.parametrize("trace", [jax.jit, jax.vmap, jax.grad])
def test_inside_of_a_traced_function_it_is_refused(trace):
    with pytest.raises(UserError, match="^train: called in a function that JAX traces"):
        trace(lambda x: own_settings("train")(lambda: x)())(
            jnp.ones(1 if trace != jax.grad else ())
        )


def test_a_process_that_was_forked_after_jax_was_used_is_refused(monkeypatch):
    """Truly forked, it would wait for ever at the first array."""
    draw()
    monkeypatch.setattr(jax_settings, "_used_in", [os.getpid() + 1])
    with pytest.raises(UserError, match="^Pipeline: called in a process that was forked"):
        draw()
