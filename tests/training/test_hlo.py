"""Collectives of compiled programs, loops counted as often as they run."""

import jax
import jax.numpy as jnp
import pytest

from lpd_jax.sharding import MeshConfig, make_mesh
from lpd_jax.training.hlo import Collective, find_collectives, read_group_size


def compiled_text(function, mesh, *arguments) -> str:
    with jax.set_mesh(mesh):
        return jax.jit(function).lower(*arguments).compile().as_text()


def abstract(mesh, shape, *axes):
    sharding = jax.NamedSharding(mesh, jax.P(*axes))
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)


def test_a_sum_over_all_devices():
    mesh = make_mesh(MeshConfig())
    text = compiled_text(lambda x: x.sum(0), mesh, abstract(mesh, (8, 100), "data"))
    assert find_collectives(text) == [Collective("all-reduce", 400, 8, 1)]
    assert find_collectives(text)[0].sent_bytes == 2 * 7 / 8 * 400


def test_a_loop_counts_as_often_as_it_runs():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))

    def layers(x_BD, weights_YDD):
        def layer(x_BD, weights_DD):
            return jnp.tanh(x_BD @ weights_DD), None

        return jax.lax.scan(layer, x_BD, weights_YDD)[0]

    weights = abstract(mesh, (5, 16, 16), None, "fsdp")
    text = compiled_text(layers, mesh, abstract(mesh, (32, 16), ("data", "fsdp")), weights)
    gathered = [one for one in find_collectives(text) if one.kind == "all-gather"]
    assert sum(one.times for one in gathered) in (1, 5)  # in each layer, or of all before the loop
    assert sum(one.times * one.buffer_bytes for one in gathered) == 5 * 16 * 16 * 4
    assert {one.group_size for one in gathered} == {2}


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups=[2,8]<=[16]", 8),
        ("replica_groups={{0,1,2},{3,4,5}}", 3),
        ("replica_groups=mesh['a'=4,'b'=2,'c'=3] {'a','c'}", 12),
        ("source_target_pairs={{0,1},{1,0}}", 2),
    ],
)
def test_groups_are_written_in_several_ways(groups, size):
    assert read_group_size(f"%x = f32[2]{{0}} all-reduce(%p), {groups}, to_apply=%add") == size


def test_started_collectives_are_counted_once():
    text = """HloModule m
ENTRY %main (p: bf16[8,4]) -> bf16[64,4] {
  %p = bf16[8,4]{1,0} parameter(0)
  %s = (bf16[8,4]{1,0}, bf16[64,4]{1,0:T(8,128)}) all-gather-start(%p), replica_groups=[2,8]<=[16]
  ROOT %d = bf16[64,4]{1,0} all-gather-done(%s)
}
"""
    assert find_collectives(text) == [Collective("all-gather", 512, 8, 1)]


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="^hlo: got a text without ENTRY"):
        find_collectives("module @jit_f {}")
