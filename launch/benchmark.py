"""Times models against what the device can do, and against eager PyTorch.

    python launch/benchmark.py --preset=readme                     # the README's table
    python launch/benchmark.py --preset=clips --nopeer             # PAR on clips, n = 1, 4, 16
    python launch/benchmark.py --preset=published --nopeer         # every published size
    python launch/benchmark.py --model=lpd_l --num_steps=20,32 --batch_sizes=1,8 --peer
    python launch/benchmark.py --model=lpd_l,par_l_4x,llamagen_l --dtype=bfloat16 --tasks=images
    python launch/benchmark.py --model=DIR --num_segments=1,2,4 --output=/tmp/trial
    python launch/benchmark.py --model=lpd_xl --tasks=train --batch_sizes=8,16 --remat=minimal

A published name has random weights. Rows appear as they are measured; OUTPUT.json and OUTPUT.md are
rewritten after each, so a run that is cut off leaves what it has. Orders are made, and weights
loaded, before the clock starts; PyTorch (--peer) takes turns with our own runs.
"""

import dataclasses
import importlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from lpd_jax.models.family import Family, transformer_of
from lpd_jax.performance import report
from lpd_jax.performance.allocator import keep_freed_memory
from lpd_jax.performance.benchmark_case import DRAWING, TASKS, TRAINING, BenchmarkCase, make_inputs
from lpd_jax.performance.benchmark_model import (
    BenchmarkModel,
    find_benchmark_model,
    tokenizer_beside,
)
from lpd_jax.performance.device_peaks import measure_peaks
from lpd_jax.performance.measure import Measurement, Peer, measure
from lpd_jax.performance.presets import PRESETS
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import parse_whole
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError, shown

PRESET = flags.DEFINE_enum("preset", None, sorted(PRESETS), "A table by name, with the peer.")
MODEL = flags.DEFINE_list("model", ["lpd_l"], "Published names, or model directories.")
TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "For models by name: a published one. Default: vq16; of clips, nbp_video."
)
TASK_NAMES = flags.DEFINE_list("tasks", ["tokens"], f"Of {', '.join(TASKS)}.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Images at a time.")
NUM_STEPS = flags.DEFINE_list(
    "num_steps", None, "Of models that know so many steps; others have their own."
)
ORDER = flags.DEFINE_string(
    "order", None, "Of models that draw in any order; others have their own."
)
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", 4.8, "1 is off.")
DTYPE = flags.DEFINE_string(
    "dtype", "float32", "What transformers compute in: float32 or bfloat16."
)
NUM_SEGMENTS = flags.DEFINE_list(
    "num_segments", None, "Of models that draw in any order: scans of a schedule."
)
REMAT = flags.DEFINE_string("remat", "none", "Of the training tasks: none, minimal or full.")
ATTENTION = flags.DEFINE_string("attention", "auto", "Of the training tasks.")
UNROLL_LAYERS = flags.DEFINE_boolean(
    "unroll_layers", False, "Of the training tasks: layer after layer is compiled, without a loop."
)
NUM_REPEATS = flags.DEFINE_integer("num_repeats", 5, "Timed runs of each row.", upper_bound=10**6)
PEER = flags.DEFINE_boolean("peer", None, "Eager PyTorch beside LPD's rows. Default: for presets.")
OUTPUT = flags.DEFINE_string(
    "output", "results/performance", "Beginning of the names of the files."
)

TITLE = "Time against the limits of the device"
# What a preset decides.
CASE_FLAGS = (
    "model", "tokenizer", "tasks", "batch_sizes", "num_steps", "order", "guidance_scale", "dtype",
    "num_segments", "remat", "attention", "unroll_layers", "num_repeats",
)  # fmt: skip


def main() -> None:
    keep_freed_memory()  # for the peer as well: it is one process
    # All that can be wrong is found before anything is measured.
    outputs = [check_output_file("output", f"{OUTPUT.value}.{kind}") for kind in ("json", "md")]
    cases = preset_cases(PRESET.value) if PRESET.value else make_cases()
    models = [find_benchmark_model(case.model, case.tokenizer) for case in cases]
    wanted = bool(PRESET.value) if PEER.value is None else PEER.value
    peer = find_peer() if wanted else None
    for case, model in zip(cases, models, strict=True):
        make_inputs(dataclasses.replace(case, batch_size=1), model)

    protocol = describe(peer)
    peaks = measure_peaks(tuple(dict.fromkeys(["float32", *(c.dtype for c in cases)])))
    print("\n".join([f"{name}: {value}" for name, value in protocol.items()]))
    print("\n".join(report.peak_lines(peaks)), flush=True)
    rows: list[Measurement] = []
    for case, model in zip(cases, models, strict=True):
        rows.append(measure(case, model, peaks, peer))
        print(report.progress_line(rows[-1]), flush=True)
        report.write(report.Report(TITLE, protocol, peaks, rows), *outputs)
    print("\n".join(["", *report.table(rows), "", report.shared_line(rows)]))
    for path in outputs:
        print(f"wrote {path}")


def preset_cases(name: str) -> list[BenchmarkCase]:
    """The cases of a preset, which leaves nothing to choose."""
    if given := [flag for flag in CASE_FLAGS if flags.FLAGS[flag].present]:
        raise UserError(f"{given[0]}: given beside preset {shown(name)}, allowed is one of the two")
    return PRESETS[name]()


def make_cases() -> list[BenchmarkCase]:
    """All combinations of what the flags list, as far as a task and a model know them."""
    cases = []
    models = {name: find_benchmark_model(name, TOKENIZER.value or "") for name in MODEL.value}
    if TOKENIZER.value is not None and all(model.directory for model in models.values()):
        raise UserError(
            "tokenizer: given without a published model, allowed is that beside one: a model "
            "directory has its own"
        )
    for name, model in models.items():
        tokenizer = "" if model.directory else tokenizer_beside(model.transformer, TOKENIZER.value)
        for task in TASK_NAMES.value:
            for choices in task_choices(task, model):
                choices["num_repeats"] = NUM_REPEATS.value
                cases.append(BenchmarkCase(name, task, tokenizer, **choices))
    if not cases:
        raise UserError("model, tasks, batch_sizes: got an empty list, allowed is at least one")
    return cases


def task_choices(task: str, model: BenchmarkModel) -> Iterator[dict[str, Any]]:
    """What there is to choose in a task: fields of `BenchmarkCase`."""
    steps = segments = [None]
    common: dict[str, Any] = {}
    if task in DRAWING:
        common = {"dtype": DTYPE.value, "guidance_scale": GUIDANCE_SCALE.value}
        family = transformer_of(model.transformer)
        steps = whole_numbers("num_steps", NUM_STEPS.value)
        if family.any_order:
            common["order"] = ORDER.value
            segments = whole_numbers("num_segments", NUM_SEGMENTS.value)
        else:
            steps = [number for number in steps if knows_steps(family, number)] or [None]
    if task in TRAINING:
        common = {"dtype": DTYPE.value, "remat": REMAT.value, "attention": ATTENTION.value}
        common["unroll_layers"] = UNROLL_LAYERS.value
    names = ("num_steps", "num_segments", "batch_size")
    sizes = whole_numbers("batch_sizes", BATCH_SIZES.value)
    for values in itertools.product(steps, segments, sizes):
        yield common | dict(zip(names, values, strict=True))


def knows_steps(family: Family, num_steps: int | None) -> bool:
    """Whether a model of few schedules has one of so many steps."""
    try:
        family.schedule(num_steps)
    except UserError:
        return False
    return True


def whole_numbers(name: str, texts: list[str] | None) -> list[Any]:
    """Of a list of texts; where none is given, the one choice is None."""
    return [None] if texts is None else [parse_whole(name, text) for text in texts]


def find_peer() -> Peer:
    """The PyTorch of `benchmarks/`, beside this folder; it is no part of the package."""
    # Two share one GPU: JAX, which has not started yet, may not take most of it in advance.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.path.append(str(Path(__file__).parents[1]))
    try:
        return importlib.import_module("benchmarks.torch_peer").TorchPeer()
    except ModuleNotFoundError as error:
        raise UserError(
            f"peer: got True, but {error.name} is not installed; allowed is that with "
            "`pip install 'lpd_jax[peer]'`, or --nopeer"
        ) from None


def describe(peer: Peer | None) -> dict[str, Any]:
    return {
        "device": provenance.device_name(),
        "busy before": f"{provenance.load_average():.2g} processes",
        "versions": provenance.version_line(),
        "peer": peer.name if peer else "none",
        "commit": provenance.git_commit(),
        "command": " ".join(["python launch/benchmark.py", *sys.argv[1:]]),
    }


if __name__ == "__main__":
    command_line.run(main)
