"""What a compiled program sends between devices, read from its HLO text.

XLA's own cost analysis counts the body of a loop once; here it counts as often as it runs.
"""

import collections
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "ragged-all-to-all",
)
ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
ITEM_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}

COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (.*?) ([\w\-]+)\(")
SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
CONDITION = re.compile(r"condition=%?([\w.\-]+)")
BELOW = re.compile(r"ROOT .* compare\(.*?%([\w.\-]+)\), direction=LT")
CONSTANT = re.compile(r"%?([\w.\-]+) = [su]32\[\]\S* constant\((\d+)\)")
IOTA_GROUPS = re.compile(r"replica_groups=\[(\d+),(\d+)\]")
MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\S+)? \{([^}]*)\}")
CHANNEL = re.compile(r"channel_id=(\d+)")
# TPUs run a collective in the fusions beside it: its start, a few with arithmetic, and its end
# each repeat the line.
IN_STEPS = '"async_collective_fusion_config"'
TUPLES = re.compile(r"\(\((.*?)\), \((.*?)\)(?:, .*)?\)")
LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]*)\}")


class Collective(NamedTuple):
    """One collective operation of one device, `times` over in a run of the program."""

    kind: str
    buffer_bytes: int  # of the whole that it makes or reduces
    group_size: int
    times: int
    is_async: bool = False  # arithmetic may run beside it

    @property
    def sent_bytes(self) -> float:
        """What a device sends in all, by ring algorithms."""
        share = (self.group_size - 1) / self.group_size
        passes = {"all-reduce": 2 * share, "collective-permute": 1.0}.get(self.kind, share)
        return self.times * passes * self.buffer_bytes


def find_collectives(text: str) -> list[Collective]:
    """All collectives of a compiled program (`compiled.as_text()`), those in loops included.

    Raises:
        ValueError: no such text, or collectives in a loop that does not tell how often it runs.
    """
    computations, entry = split_computations(text)
    found: list[Collective] = []
    in_steps: set[str] = set()  # those whose first step was seen
    pending: list[tuple[str, int | None]] = [(entry, 1)]
    while pending:
        name, times = pending.pop()
        for line in computations[name]:
            match = INSTRUCTION.match(line)
            if match is None:
                continue
            shapes, operation = match.groups()
            kind = operation.removesuffix("-start")
            if kind in COLLECTIVES:
                if times is None:
                    raise ValueError(f"hlo: {kind} in {name}, a loop of unknown length")
                channel = CHANNEL.search(line)
                if IN_STEPS in line and channel:
                    if channel[1] in in_steps:
                        continue
                    in_steps.add(channel[1])
                # Of a sum each device keeps its part: a fusion that the compiler names so.
                scatters = kind == "all-reduce" and name.startswith("all-reduce-scatter")
                one = read_collective(kind, shapes, line, times)
                found.append(one._replace(kind="reduce-scatter") if scatters else one)
            trips = read_trips(line, computations) if operation == "while" else 1
            inside = times * trips if times and trips else None
            called = CALLED.findall(line)
            if branches := BRANCHES.search(line):
                # One of them runs; they are alike in what they send.
                called += [branches[1].split(",")[0].strip().lstrip("%")]
            # Collectives name what they reduce with: that sends nothing.
            if kind not in COLLECTIVES:
                pending += [(other, inside) for other in called if other in computations]
    return merge(found)


def split_computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Lines of each computation by its name, and the name of the first that runs."""
    computations: dict[str, list[str]] = collections.defaultdict(list)
    name = entry = ""
    for line in text.splitlines():
        if match := COMPUTATION.match(line):
            name = match[1]
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            computations[name].append(line)
    if not entry:
        raise ValueError("hlo: got a text without ENTRY, allowed is that of a compiled program")
    return computations, entry


def read_trips(line: str, computations: Mapping[str, list[str]]) -> int | None:
    """How often a loop runs, as XLA notes it or its condition compares; None where neither says."""
    if match := TRIPS.search(line):
        return int(match[1])
    condition = "\n".join(computations[CONDITION.search(line)[1]])  # type: ignore[index]
    constants = dict(CONSTANT.findall(condition))
    limit = BELOW.search(condition)
    # Loops of `lax.scan` count from zero.
    return int(constants[limit[1]]) if limit and limit[1] in constants else None


def read_collective(kind: str, shapes: str, line: str, times: int) -> Collective:
    group_size = read_group_size(line)
    sizes = sizes_of(shapes)
    whole = sum(sizes)
    if "-start(" in line and kind != "all-reduce":
        # They name operands, then results; of several at once, one tuple of each.
        results = TUPLES.fullmatch(shapes)
        whole = sum(sizes_of(results[2])) if results else max(sizes, default=0)
    if kind == "reduce-scatter" and "-start(" not in line:
        whole *= group_size
    is_async = "-start(" in line or IN_STEPS in line
    return Collective(kind, whole, group_size, times, is_async)


def sizes_of(shapes: str) -> list[int]:
    """Bytes of each array in a shape, or in a tuple of them."""
    return [
        ITEM_BYTES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n)
        for kind, dims in SHAPE.findall(shapes)
    ]


def read_group_size(line: str) -> int:
    """Devices that a collective joins: XLA writes its groups in three ways, and pairs in none."""
    if match := IOTA_GROUPS.search(line):  # [groups,size]<=[devices]
        return int(match[2])
    if match := MESH_GROUPS.search(line):  # mesh['a'=4,'b'=2] {'a'}
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", match[2]))
    if match := LISTED_GROUPS.search(line):  # {{0,1},{2,3}}
        return match[1].count(",") + 1
    return 2


def merge(found: list[Collective]) -> list[Collective]:
    """Equal ones as one."""
    counts: collections.Counter = collections.Counter()
    for one in found:
        counts[one._replace(times=0)] += one.times
    return [one._replace(times=times) for one, times in sorted(counts.items())]
