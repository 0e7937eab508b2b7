"""Kernels of programs for GPUs, read from their text; those of a card that is not there, too."""

import pytest

from lpd_jax.performance.kernel_kinds import Outside, kernel_kinds, outside_of_graphs
from lpd_jax.performance.kernels import Kernels, count_kernels

# As XLA writes it for an H100: a loop of three, a cut, an update in place, a library's product.
PROGRAM = """HloModule m
%cut (w: bf16[4,8,16], i: s32[], b: f32[2,8]) -> bf16[8,16] {
  %w = bf16[4,8,16]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %b = f32[2,8]{1,0} parameter(2)
  %c = f32[2,8]{1,0} convert(%b)
  %row = f32[1,8]{1,0} slice(%c), slice={[0:1], [0:8]}
  ROOT %d = bf16[1,8,16]{2,1,0} dynamic-slice(%w, %i, %i, %i), dynamic_slice_sizes={1,8,16}
}
%update (cache: f32[100,8], new: f32[1,8], i: s32[]) -> f32[100,8] {
  %cache = f32[100,8]{1,0} parameter(0)
  %new = f32[1,8]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %u = f32[100,8]{1,0} dynamic-update-slice(%cache, %new, %i, %i)
}
%body (p: (s32[], f32[100,8])) -> (s32[], f32[100,8]) {
  %p = (s32[], f32[100,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %cache = f32[100,8]{1,0} get-tuple-element(%p), index=1
  %w = bf16[4,8,16]{2,1,0} constant({...})
  %b = f32[2,8]{1,0} constant({...})
  %k = bf16[1,8,16]{2,1,0} fusion(%w, %i, %b), kind=kLoop, calls=%cut
  %product = (f32[1,8]{1,0}, s8[4194304]{0}) custom-call(%k, %b), custom_call_target="__cublas$lt$matmul"
  %new = f32[1,8]{1,0} get-tuple-element(%product), index=0
  %grown = f32[100,8]{1,0} fusion(%cache, %new, %i), kind=kLoop, calls=%update
  ROOT %r = (s32[], f32[100,8]{1,0}) tuple(%i, %grown)
}
%condition (p: (s32[], f32[100,8])) -> pred[] {
  %p = (s32[], f32[100,8]{1,0}) parameter(0)
  ROOT %lt = pred[] compare(%p, %p), direction=LT
}
ENTRY %main (x: f32[100,8]) -> f32[100,8] {
  %x = f32[100,8]{1,0} parameter(0)
  %copied = f32[100,8]{1,0} copy(%x)
  %zero = s32[] constant(0)
  %start = (s32[], f32[100,8]{1,0}) tuple(%zero, %copied)
  %loop = (s32[], f32[100,8]{1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %out = f32[100,8]{1,0} get-tuple-element(%loop), index=1
}
"""  # noqa: E501


def test_kernels_of_a_loop_count_as_often_as_it_runs():
    cut = 2 * 8 * 16 * 2 + 4 + 8 * 4  # matrix read and written, the index, one row of the bias
    product = 8 * 16 * 2 + 2 * 8 * 4 + 8 * 4  # without the workspace
    update = 2 * 8 * 4 + 4  # of the cache only the row
    copy = 2 * 100 * 8 * 4
    # One copy, then three a turn.
    assert count_kernels(PROGRAM) == Kernels(1 + 3 * 3, copy + 3 * (cut + product + update))


def test_a_fusion_that_is_started_moves_what_it_would_otherwise():
    at_once = "%grown = f32[100,8]{1,0} fusion(%cache, %new, %i), kind=kLoop, calls=%update"
    started = (
        "%begun = ((f32[100,8]{1,0}, f32[1,8]{1,0}, s32[]), f32[100,8]{1,0}, u32[]) "
        "fusion-start(%cache, %new, %i), kind=kLoop, calls=%update\n"
        "  %grown = f32[100,8]{1,0} fusion-done(%begun)"
    )
    assert at_once in PROGRAM
    assert count_kernels(PROGRAM.replace(at_once, started)) == count_kernels(PROGRAM)


def test_a_loop_of_unknown_length_is_no_guess():
    text = PROGRAM.replace('"known_trip_count":{"n":"3"}', "")
    with pytest.raises(ValueError, match="^hlo: loop, a loop of unknown length"):
        count_kernels(text)


def test_what_kernels_are(tmp_path):
    kinds = kernel_kinds(PROGRAM)
    assert kinds[:2] == (9, 0) and kinds.attention == "products"
    # The copy stands before the loop, and is none of its.
    assert (kinds.casts, kinds.copies, kinds.float32_products) == (0, 0, 0)
    wide = PROGRAM.replace("custom-call(%k, %b)", "custom-call(%b, %b)")
    assert kernel_kinds(wide).float32_products == 1
    cast = "%c = bf16[64,64]{1,0} convert(%cache)\n  ROOT %r = "
    assert kernel_kinds(PROGRAM.replace("ROOT %r = ", cast, 1)).casts == 1
    copy = cast.replace("convert", "copy")
    assert kernel_kinds(PROGRAM.replace("ROOT %r = ", copy, 1)).copies == 1


THUNKS = """000: kCommandBuffer [source       | next=009 (1)]
    001: kCustomKernel [source       | next=002 (1)] loop_broadcast_fusion grid: [2, 1, 1]
009: kWhile         [prev=000 (1) | next=045 (1)]
condition:
    010: kCustomKernel [source | sink] loop_compare_fusion grid: [1, 1, 1]
  body:
    000: kCommandBuffer [source | sink]
        011: kDynamicSliceFusion [source        | next=013 (1)] params=1, results=1
            012: kCopy [source | sink] kCopy
        017: kCublasLtMatmul     [prev=016 (1)  | next=018 (1)] kCublasLtMatmul
    018: kDynamicSliceFusion [source        | next=013 (1)] params=1, results=1
        019: kCopy [source | sink] kCopy
045: kCustomKernel  [prev=009 (1) | sink        ] input_scatter_fusion grid: [2, 1, 1]
"""


def test_what_the_host_starts_one_by_one(tmp_path):
    assert outside_of_graphs(tmp_path) is None
    (tmp_path / "module_0001.jit_f.thunk_sequence.txt").write_text(THUNKS)
    # The last; and in a turn the condition, and the slice outside of the graph.
    assert outside_of_graphs(tmp_path) == Outside(once=1, a_turn=2)
