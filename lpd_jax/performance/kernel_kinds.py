"""What the kernels of a program for a GPU are: of a step, of a layer, and those that should go.

All read from its text, and from the list of what the host starts, which XLA writes when asked.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lpd_jax.performance.hlo import SHAPE
from lpd_jax.performance.kernels import (
    CALLS,
    FUSIONS,
    Instruction,
    Kernel,
    Program,
    find_kernels,
    size_of,
)

LEAST_BYTES = 1024  # a smaller copy takes a kernel, but no time beside it
PRODUCT_TARGET = re.compile(r'custom_call_target="__cublas\S*"')
ATTENTION_TARGET = re.compile(r'custom_call_target="(__cudnn\$fmha\w*)"')
CONTRACTED = re.compile(r"lhs_contracting_dims=\{\d")
# Layers of a cached pass are functions of their own; see `decode_block` of each family.
LAYER = re.compile(r'op_name="[^"]*jit\((?:decode|read|ask|overlap)_block\)')
CASTING, COPYING = {"convert"}, {"copy", "transpose", "pad"}
VIEWING = {"parameter", "constant", "bitcast", "reshape", "broadcast", "tuple"}
THUNK = re.compile(r"^( *)\d+: k(\w+)")
HOLDERS = {"CommandBuffer", "While", "Sequential", "Conditional", "DynamicSliceFusion"}


class KernelKinds(NamedTuple):
    """Counts of one program.

    in_loops: kernels launched in loops: the steps of a decode, the layers of a train step.
    in_layers: of these, those of cached layers.
    casts, copies, float32_products: places in the program, each counted once; the first two in
        loops only, the products where both sides are float32.
    attention: the kernel's name, or "products".
    """

    in_loops: int
    in_layers: int
    casts: int
    copies: int
    float32_products: int
    attention: str


class Outside(NamedTuple):
    """What the host starts one by one, outside of every command buffer (CUDA graph).

    a_turn: in loops, of all their bodies one after another.
    """

    once: int
    a_turn: int


def kernel_kinds(text: str) -> KernelKinds:
    """Of `compiled.as_text()`; raises what `count_kernels` does."""
    program = find_kernels(text)
    loops = [x for x in program.kernels if x.in_loop]
    flash = {match[1] for x in loops if (match := ATTENTION_TARGET.search(x.one.line))}
    return KernelKinds(
        in_loops=sum(x.times for x in loops),
        in_layers=sum(x.times for x in loops if LAYER.search(x.one.line)),
        casts=sum(is_only(x, CASTING, program) for x in loops),
        copies=sum(is_only(x, COPYING, program) for x in loops),
        float32_products=sum(has_float32_product(x, program) for x in program.kernels),
        attention=", ".join(sorted(flash)) or "products",
    )


def is_only(kernel: Kernel, operations: set[str], program: Program) -> bool:
    """Whether a kernel does nothing but cast, or copy, more than a few bytes."""
    if size_of(kernel.one.shapes) < LEAST_BYTES:
        return False
    found = {x.operation for x in body_of(kernel.one, program)} - VIEWING
    return bool(found & operations) and found <= CASTING | COPYING


def body_of(one: Instruction, program: Program) -> Sequence[Instruction]:
    """The instructions of a fusion, or the one instruction."""
    calls = CALLS.search(one.line)
    return program.computations[calls[1]] if one.operation in FUSIONS and calls else (one,)


def has_float32_product(kernel: Kernel, program: Program) -> bool:
    one, home = kernel.one, kernel.home
    if one.operation == "custom-call" and PRODUCT_TARGET.search(one.line):
        return reads_float32(one, home)
    body = body_of(one, program)
    # A product without a contracted axis, or of a vector, is a sum or an outer product.
    return any(
        x.operation == "dot" and CONTRACTED.search(x.line) and reads_float32(x, body) for x in body
    )


def reads_float32(one: Instruction, home: Sequence[Instruction]) -> bool:
    """Whether the first two operands, which a product multiplies, are float32."""
    kinds: Mapping[str, list[str]] = {x.name: SHAPE.findall(x.shapes) for x in home}
    return all(kinds.get(name, [("", "")])[0][0] == "f32" for name in one.operands[:2])


def outside_of_graphs(folder: Path) -> Outside | None:
    """Of what XLA wrote with `xla_dump_to`; None where it wrote no list of thunks."""
    for end in ("thunk_sequence_after_thunk_passes.txt", "thunk_sequence.txt"):
        if files := sorted(folder.glob(f"*.{end}")):
            largest = max(files, key=lambda file: file.stat().st_size)
            return count_outside(largest.read_text(encoding="utf-8"))
    return None


def count_outside(thunks: str) -> Outside:
    once = a_turn = 0
    holders: list[tuple[int, str]] = []  # indentation and kind of those that the line is in
    for match in filter(None, map(THUNK.match, thunks.splitlines())):
        depth, kind = len(match[1]), match[2]
        while holders and holders[-1][0] >= depth:
            holders.pop()
        around = {held for _, held in holders}
        starts = kind not in HOLDERS or kind == "DynamicSliceFusion"
        if starts and not around & {"CommandBuffer", "DynamicSliceFusion"}:
            once, a_turn = once + ("While" not in around), a_turn + ("While" in around)
        if kind in HOLDERS:
            holders.append((depth, kind))
    return Outside(once, a_turn)
