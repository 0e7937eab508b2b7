"""What the families share in reading official state dicts: places of weights, sizes off shapes.

Torch keeps Linear weights as (out, in) and convolutions as (out, in, height, width); ours end in
(in, out).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Shapes = Mapping[str, tuple[int, ...]]
# Takes one line about a size that neither the weights nor the caller gave.
Tell = Callable[[str], object]

LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}


class Weight(NamedTuple):
    """One official weight and its place in ours."""

    name: str  # in the state dict
    shape: tuple[int, ...]  # in the state dict
    path: str  # in ours, "blocks/qkv/kernel"
    layer: int | None = None  # row of a stacked leaf


class OfficialNames(NamedTuple):
    """What a family's room here says; each has one, called OFFICIAL.

    family: its name in the registry.
    titles: the models it reads, for errors.
    own_names: a pattern of names; any of them tells the family.
    shared_names: of names that other families may have too; they tell it where nothing else does.
    draft: shapes -> config, as far as shapes tell.
    complete: (config, shapes, num_heads, grid_size, tell) -> config with what no shape tells; it
        raises UserError for what does not fit, or is not known and was not given.
    weights: (path, shape) of a leaf of ours -> the official weights in it.
    beside: patterns of names of what checkpoints carry along and is no parameter.
    written_beside: the same, as arrays that official code looks for.
    """

    family: str
    titles: tuple[str, ...]
    own_names: str
    draft: Callable[[Shapes], Any]
    complete: Callable[[Any, Shapes, int | None, Any, Tell], Any]
    weights: Callable[[str, tuple[int, ...]], list[Weight]]
    shared_names: str = "(?!)"
    beside: tuple[str, ...] = ()
    written_beside: Callable[[], Mapping[str, Any]] = dict


def transformer_weights(
    path: str,
    shape: tuple[int, ...],
    names: Mapping[str, str],
    layers: str,
    batched: Sequence[str] = (),
) -> list[Weight]:
    """The official weights in one leaf of a transformer: itself, or one for each stacked layer.

    Args:
        path, shape: of our leaf.
        names: official name of each embedding and of each module.
        layers: what the official list of blocks is called.
        batched: embeddings that are official with a leading axis of one.
    """
    *stack, module, leaf = ["", *path.split("/")]
    if leaf in names:  # an embedding, a leaf without a module
        return [Weight(names[leaf], (1, *shape) if leaf in batched else shape, path)]
    name = f"{names[module]}.{LEAVES[leaf]}"
    if "blocks" not in stack:
        return [Weight(name, torch_shape(leaf, shape), path)]
    inner = torch_shape(leaf, shape[1:])
    return [Weight(f"{layers}.{i}.{name}", inner, path, i) for i in range(shape[0])]


def torch_shape(leaf: str, shape: tuple[int, ...], rank: int = 2) -> tuple[int, ...]:
    """(in, out) -> (out, in); (3, 3, in, out) -> (out, in, 3, 3); 1x1 convolutions padded."""
    if leaf != "kernel":
        return shape
    *window, inputs, outputs = shape
    return (outputs, inputs, *[1] * (rank - 2 - len(window)), *window)


def common_size(shapes: Shapes, *sources: tuple[str, int], default: int = 32) -> int:
    """The most frequent length of the given axes of weights whose names match.

    With one misshapen weight among many, that one is reported and not all the others. `default`
    stands in when every source is missing, which is then an error in itself.
    """
    found: Counter[int] = Counter()
    for pattern, axis in sources:
        for name, shape in shapes.items():
            if re.fullmatch(pattern, name) and -len(shape) <= axis < len(shape):
                found[shape[axis]] += 1
    return max(1, found.most_common(1)[0][0]) if found else default


def count_numbers(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number that `pattern` finds; at least one."""
    found = (re.fullmatch(pattern, name) for name in shapes)
    return max((int(match.group(1)) + 1 for match in found if match), default=1)
