"""The programs of every published transformer, compiled for devices that are not there: one table.

Decodes are of one picture or clip with guidance and its tokenizer's decoder, compiled with few
layers twice and continued by a line; train steps are those of the configs, whole.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lpd_jax.models.family import transformer_of
from lpd_jax.models.transformer_family import TransformerConfig
from lpd_jax.performance.benchmark_model import find_tokenizer, tokenizer_beside
from lpd_jax.performance.by_layers import compile_few
from lpd_jax.performance.compile_report import compile_decoding, compile_training
from lpd_jax.performance.presets import GUIDED
from lpd_jax.performance.program_needs import DoesNotFit, ProgramNeeds, cells_by_column
from lpd_jax.performance.topology import Slice
from lpd_jax.runtime.markdown import markdown_table
from lpd_jax.training.config import TrainConfig

LAYERS = (2, 4)  # that are compiled: ARPG's come in pairs
COLUMNS = {
    "decode": (
        "model", "device", "layers", "steps", "compile s", "memory GB", "kernels a step", "a layer",
        "in all", "outside graphs", "casts + copies", "attention", "moved GB", "ms",
    ),
    "train": (
        "config", "devices", "images per device", "parts", "mesh", "compile s", "memory GB",
        "sent GB", "kernels", "a layer", "casts + copies", "float32 products", "s a step",
        "utilisation",
    ),
}  # fmt: skip
NUM_TEXTS = 2


class Program(NamedTuple):
    """One row. Without needs, no program fitted into the memory."""

    kind: str  # "decode" or "train"
    name: str
    target: str  # the slice's title
    needs: ProgramNeeds | None


def compile_decodes(
    models: Mapping[str, TransformerConfig], slices: Sequence[Slice]
) -> Iterator[Program]:
    """One picture or clip of each model on a device of each slice, as each is compiled.

    Raises:
        UserError: libtpu or the plugin for GPUs is missing.
    """
    for name, model in models.items():
        for device in slices:
            try:
                needs = compile_few(
                    functools.partial(compile_picture, of=model, device=device),
                    model,
                    LAYERS,
                    device,
                )
            except DoesNotFit:
                needs = None
            yield Program("decode", name, device.title, needs)


def compile_picture(small: Any, of: Any, device: Slice) -> ProgramNeeds:
    """One, in the steps that the family draws in, with guidance, by a model with fewer layers."""
    generation = transformer_of(of).defaults().updated({"guidance_scale": GUIDED})
    share = small.num_layers / of.num_layers
    tokenizer = find_tokenizer(tokenizer_beside(of, None))
    return compile_decoding(small, tokenizer, generation, 1, device, share)


def compile_train_steps(
    runs: Mapping[str, tuple[Any, TrainConfig]], slices: Sequence[Slice]
) -> Iterator[Program]:
    """The train step of each run, a model and its config, on each slice, as each is compiled.

    Raises:
        UserError: libtpu or the plugin for GPUs is missing.
    """
    for name, (model, config) in runs.items():
        for devices in slices:
            try:
                needs = compile_training(model, config, devices)
            except DoesNotFit:
                needs = None
            yield Program("train", name, devices.title, needs)


def to_markdown(programs: Sequence[Program], protocol: Mapping[str, Any]) -> str:
    """A table of each kind, then what they were made with."""
    titles = {"decode": "One picture", "train": "Train steps"}
    lines = ["# Programs of the published models, by the compiler", "", "Nothing here ran.", ""]
    for kind, title in titles.items():
        rows = [row_of(one) for one in programs if one.kind == kind]
        if rows:
            table = markdown_table(*told_columns(COLUMNS[kind], rows), NUM_TEXTS)
            lines += [f"## {title}", "", *table, ""]
    lines += ["## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in protocol.items()]
    return "\n".join(lines) + "\n"


def told_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]]
) -> tuple[list[str], list[list[str | None]]]:
    """The columns that say something in some row, and their cells: of TPUs no kernels are known."""
    told = [i for i in range(len(columns)) if any(row[i] not in (None, "-") for row in rows)]
    return [columns[i] for i in told], [[row[i] for i in told] for row in rows]


def to_json(programs: Sequence[Program], protocol: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {**one._asdict(), "needs": one.needs and dataclasses.asdict(one.needs)} for one in programs
    ]
    return {"protocol": dict(protocol), "programs": rows}


def progress_line(program: Program) -> str:
    """One program by itself, on a line."""
    pairs = zip(COLUMNS[program.kind], row_of(program), strict=True)
    return ", ".join(f"{column} {cell}" for column, cell in pairs if cell not in (None, "-"))


def row_of(program: Program) -> list[str | None]:
    cells = cells_of(program)
    return [cells.get(column) for column in COLUMNS[program.kind]]


def cells_of(program: Program) -> dict[str, str]:
    """Texts by the heads of their columns."""
    needs, names = program.needs, ("model", "config", "device", "devices")
    named = dict(zip(names, [f"`{program.name}`"] * 2 + [program.target] * 2, strict=True))
    if needs is None:
        return named | {"memory GB": "does not fit"}
    cells = cells_by_column(needs)
    return {
        **cells,
        **named,
        "layers": needs.model.partition("(")[2].rstrip(")"),
        "steps": str(needs.num_steps),
        "ms": f"{1e3 * needs.seconds[0]:.3g}",
        "s a step": cells["total s"],
        "kernels a step": cells["a step"],
        "in all": cells["kernels"],
    }
