"""Collectives of compiled programs, loops counted as often as they run."""

import jax
import jax.numpy as jnp
import pytest

from lpd_jax.performance.hlo import Collective, find_collectives, read_group_size
from lpd_jax.runtime.mesh import MeshConfig, make_mesh


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
        ("replica_groups=mesh['a'=16,'b'=1,'c'=2], device_ids=([2,16]T(1,0)) {'a'}", 16),
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
    assert find_collectives(text) == [Collective("all-gather", 512, 8, 1, is_async=True)]


STEPS = """HloModule m
%start (p: bf16[8,4]) -> bf16[64,4] {
  ROOT %g = bf16[64,4]{1,0} all-gather(%p), channel_id=7, replica_groups=[2,8]<=[16], backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
}
%async_collective_fusion.1 (p: bf16[8,4]) -> bf16[64,4] {
  ROOT %h = bf16[64,4]{1,0} all-gather(%p), channel_id=7, replica_groups=[2,8]<=[16], backend_config={"async_collective_fusion_config":{"flag_start":"2"}}
}
%all-reduce-scatter.2 (p: bf16[64,4]) -> bf16[8,4] {
  %r = bf16[64,4]{1,0} all-reduce(%p), channel_id=8, replica_groups=[2,8]<=[16], to_apply=%add
  ROOT %s = bf16[8,4]{1,0} dynamic-slice(%r, %i, %z), dynamic_slice_sizes={8,4}
}
ENTRY %main (p: bf16[8,4]) -> bf16[8,4] {
  %async-collective-start = bf16[64,4]{1,0} fusion(%p), kind=kCustom, calls=%start
  %fusion.1 = bf16[64,4]{1,0} fusion(%async-collective-start), calls=%async_collective_fusion.1
  ROOT %fusion.2 = bf16[8,4]{1,0} fusion(%fusion.1), kind=kCustom, calls=%all-reduce-scatter.2
}
"""  # noqa: E501 - as XLA writes it


def test_tpus_repeat_a_collective_in_each_of_its_steps_and_name_a_scattered_sum():
    assert find_collectives(STEPS) == [
        Collective("all-gather", 512, 8, 1, is_async=True),
        Collective("reduce-scatter", 512, 8, 1),
    ]
    assert sum(one.sent_bytes for one in find_collectives(STEPS)) == 2 * 7 / 8 * 512


def test_several_that_start_as_one_are_all_counted():
    text = """HloModule m
ENTRY %main (p: bf16[8,4], q: bf16[2]) -> bf16[64,4] {
  %s = ((bf16[8,4]{1,0}, bf16[2]{0}), (bf16[64,4]{1,0}, bf16[16]{0})) all-gather-start(%p, %q), replica_groups=[2,8]<=[16]
  %r = (f32[10]{0}, f32[30]{0}) all-reduce-start(%a, %b), replica_groups=[2,8]<=[16]
  %c = (f32[10]{0}, f32[10]{0}, u32[], u32[]) collective-permute-start(%a), source_target_pairs={{0,1},{1,0}}
}
"""  # noqa: E501 - as XLA writes it
    assert {(one.kind, one.buffer_bytes) for one in find_collectives(text)} == {
        ("all-gather", 512 + 32),
        ("all-reduce", 160),
        ("collective-permute", 40),
    }


LOOP = """HloModule m
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %x = f32[8]{0} get-tuple-element(%p), index=1
  ROOT %r = f32[8]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%add
}
%condition (p: (s32[], f32[8])) -> pred[] {
  %five = s32[]{:T(128)} constant(5)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %five), direction=LT
}
ENTRY %main (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  ROOT %w = (s32[], f32[8]) while(%p), condition=%condition, body=%body
}
"""


def test_a_loop_without_a_note_is_as_long_as_its_condition_says():
    assert find_collectives(LOOP) == [Collective("all-reduce", 32, 2, 5)]


def test_a_loop_of_unknown_length_is_no_guess():
    text = LOOP.replace("%five), direction=LT", "%i), direction=NE")
    with pytest.raises(ValueError, match="^hlo: all-reduce in body, a loop of unknown length"):
        find_collectives(text)


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="^hlo: got a text without ENTRY"):
        find_collectives("module @jit_f {}")
