"""Kernels that a program compiled for a GPU launches, and the bytes that they move.

Read from its HLO text, loops counted as often as they run. An upper bound of the bytes: what one
kernel writes and the next reads may still be in a cache.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lpd_jax.performance.hlo import BRANCHES, SHAPE, read_trips, sizes_of, split_computations

NAMED = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*?)\)(?:,|$)")
OPERAND = re.compile(r"%([\w.\-]+)")
RUNS = re.compile(r"(?:to_apply|body)=%?([\w.\-]+)")
WORKSPACE = re.compile(r", [su]8\[\d+\]")  # of a library's kernel, among its results
CALLS = re.compile(r"calls=%?([\w.\-]+)")
# Names, views and control: the host's, or nobody's, work.
NO_KERNEL = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while", "call",
    "conditional", "partition-id", "replica-id", "optimization-barrier", "add-dependency",
}  # fmt: skip
SLICING = {"slice", "dynamic-slice", "gather"}
VIEWS = {"bitcast", "reshape", "convert", "get-tuple-element"}
CONTROL = {"while", "call", "conditional"}
FUSIONS = {"fusion", "fusion-start"}  # the second, from JAX 0.11 on, runs beside what follows


class Instruction(NamedTuple):
    name: str
    shapes: str
    operation: str
    operands: tuple[str, ...]
    line: str


class Kernels(NamedTuple):
    """Of one run of a program on one device."""

    launches: int
    moved_bytes: int  # read and written


class Kernel(NamedTuple):
    """A kernel of a program's text, as often as it is launched in a run."""

    one: Instruction
    times: int
    in_loop: bool
    home: tuple[Instruction, ...]  # the computation that it stands in

    def sizes(self) -> dict[str, int]:
        """Bytes by the names of the computation."""
        return {x.name: size_of(x.shapes) for x in self.home}


class Program(NamedTuple):
    """The kernels of a program, and its computations by name, which fusions call."""

    kernels: tuple[Kernel, ...]
    computations: dict[str, tuple[Instruction, ...]]


def count_kernels(text: str) -> Kernels:
    """Of `compiled.as_text()`.

    Raises:
        ValueError: no such text, or a loop that does not tell how often it runs.
    """
    program = find_kernels(text)
    moved = sum(
        x.times * moved_by(x.one, sizes, program.computations)
        for sizes, kernels in by_home(program.kernels)
        for x in kernels
    )
    return Kernels(sum(x.times for x in program.kernels), moved)


def by_home(kernels: Sequence[Kernel]) -> Iterator[tuple[dict[str, int], list[Kernel]]]:
    """Kernels of one computation together, with the sizes of what stands there."""
    for _, group in itertools.groupby(kernels, key=lambda x: id(x.home)):
        found = list(group)
        yield found[0].sizes(), found


def find_kernels(text: str) -> Program:
    """All kernels of `compiled.as_text()`; raises what `count_kernels` does."""
    computations, entry = split_computations(text)
    parsed = {name: tuple(read_instructions(lines)) for name, lines in computations.items()}
    found: list[Kernel] = []
    pending = [(entry, 1, False)]
    while pending:
        name, times, in_loop = pending.pop()
        for one in parsed[name]:
            if one.operation in CONTROL:
                deeper = in_loop or one.operation == "while"
                for other, trips in inside(one, computations):
                    pending.append((other, times * trips, deeper))
            elif one.operation not in NO_KERNEL and not one.operation.endswith("-done"):
                found.append(Kernel(one, times, in_loop, parsed[name]))
    return Program(tuple(found), parsed)


def read_instructions(lines: Sequence[str]) -> list[Instruction]:
    found = []
    for line in lines:
        if match := NAMED.match(line):
            name, shapes, operation, operands = match.groups()
            found.append(
                Instruction(name, shapes, operation, tuple(OPERAND.findall(operands)), line)
            )
    return found


def inside(one: Instruction, computations: Mapping[str, list[str]]) -> Iterator[tuple[str, int]]:
    """Computations that an instruction runs, and how often each."""
    trips = read_trips(one.line, computations) if one.operation == "while" else 1
    if trips is None:
        raise ValueError(f"hlo: {one.name}, a loop of unknown length")
    called = RUNS.findall(one.line)
    if branches := BRANCHES.search(one.line):
        called += [branches[1].split(",")[0].strip().lstrip("%")]
    for name in called:
        if name in computations:
            yield name, trips


def size_of(shapes: str) -> int:
    return sum(sizes_of(shapes))


def moved_by(
    one: Instruction, sizes: Mapping[str, int], parsed: Mapping[str, Sequence[Instruction]]
) -> int:
    """Bytes that a kernel reads and writes: of an operand that it cuts from, only what it cuts."""
    if one.operation in SLICING:
        return 2 * size_of(one.shapes)
    if one.operation == "dynamic-update-slice":  # in place
        return 2 * sizes.get(one.operands[1], 0)
    shapes = one.shapes
    if one.operation == "custom-call":
        shapes = WORKSPACE.sub("", shapes)
    calls = CALLS.search(one.line)
    if one.operation not in FUSIONS or calls is None:
        return size_of(shapes) + sum(sizes.get(name, 0) for name in one.operands)
    body = parsed[calls[1]]
    inner = {x.name: size_of(x.shapes) for x in body}
    written = size_of(body[-1].shapes)  # a start's own shapes name its operands too
    for update in body:
        if update.operation == "dynamic-update-slice":
            written += inner[update.operands[1]] - inner[update.name]
    read = sum(
        size_of(x.shapes) * share_read(x, body, parsed) for x in body if x.operation == "parameter"
    )
    return max(written, 0) + round(read)


def share_read(
    one: Instruction, body: Sequence[Instruction], parsed: Mapping[str, Sequence[Instruction]]
) -> float:
    """The part of a value that the inside of a fusion reads."""
    share = 0.0
    for user in (x for x in body if one.name in x.operands):
        calls = CALLS.search(user.line)
        if user.operation in VIEWS:
            share += share_read(user, body, parsed)
        elif user.operation in SLICING and user.operands[0] == one.name:
            share += items_of(user.shapes) / max(items_of(one.shapes), 1)
        elif user.operation == "dynamic-update-slice" and user.operands[0] == one.name:
            continue  # what is there stays
        elif user.operation in FUSIONS and calls is not None:
            nested = parsed[calls[1]]
            given = f"parameter({user.operands.index(one.name)})"
            share += sum(share_read(x, nested, parsed) for x in nested if given in x.line)
        else:
            return 1.0
    return min(share, 1.0)


def items_of(shapes: str) -> int:
    return sum(math.prod(int(n) for n in dims.split(",") if n) for _, dims in SHAPE.findall(shapes))
