"""Measures how drawing grows, one curve and one plot each.

    python launch/scaling.py                      # LPD-L; on a CPU a model as small as the bundled
    python launch/scaling.py --model=lpd_l --num_layers=2 --batch_sizes=1,2,4,8 --grids=16,24,32
    python launch/scaling.py --curves=grid --grids=16,32,64 --dtype=bfloat16
    python launch/scaling.py --curves=segments,layers --layers=2,6,12,24

Time against images at a time, against steps, against the side of the grid; seconds to compile
against scans and against layers. Writes OUTPUT.json and OUTPUT.png; both grow with each point.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
from absl import flags

from lpd_jax.models.family import config_to_dict
from lpd_jax.performance.allocator import keep_freed_memory
from lpd_jax.performance.benchmark_case import BenchmarkCase
from lpd_jax.performance.benchmark_model import BenchmarkModel, find_benchmark_model
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import check_choice, parse_whole
from lpd_jax.runtime.atomic_files import check_output_file, replacing_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.hub import DEFAULT_MODEL

with command_line.imports_of("train"):
    from lpd_jax.performance.scaling import (
        CURVES,
        Point,
        check_points,
        measure_curves,
        plot_curves,
        with_config,
    )


def powers_of_two(first: int, last: int) -> list[str]:
    return [str(2**k) for k in range(first.bit_length() - 1, last.bit_length())]


MODEL = flags.DEFINE_string(
    "model",
    None,
    f"A published name or a model directory; weights are random. Default: lpd_l, on a CPU "
    f"{DEFAULT_MODEL}.",
)
NUM_LAYERS = flags.DEFINE_integer(
    "num_layers", 0, "Of all curves but that of layers; 0 is as many as the model has.", 0
)
CURVE_NAMES = flags.DEFINE_list("curves", list(CURVES), f"Of {', '.join(CURVES)}.")
VALUES = {
    "batch": flags.DEFINE_list("batch_sizes", powers_of_two(1, 256), "Images at a time."),
    "steps": flags.DEFINE_list("steps", powers_of_two(8, 256), "Of one grid."),
    "grid": flags.DEFINE_list(
        "grids", ["16", "24", "32", "48", "64"], "Sides of square grids, in tokens."
    ),
    "segments": flags.DEFINE_list("segments", powers_of_two(1, 16), "Scans of a schedule."),
    "layers": flags.DEFINE_list("layers", powers_of_two(1, 16), "Of the model."),
}
NUM_STEPS = flags.DEFINE_integer("num_steps", 20, "Of the other curves, on the model's own grid.")
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", 4.8, "1 is off.")
DTYPE = flags.DEFINE_string(
    "dtype", None, "float32 or bfloat16. Default: bfloat16, on a CPU float32."
)
NUM_REPEATS = flags.DEFINE_integer("num_repeats", 3, "Timed runs of each point.", 1, 10**6)
OUTPUT = flags.DEFINE_string("output", "results/scaling", "Beginning of the names of the files.")
KINDS = "json", "png"


def main() -> None:
    keep_freed_memory()
    names = [check_choice("curves", name, tuple(CURVES)) for name in CURVE_NAMES.value]
    values = {
        name: [parse_whole(VALUES[name].name, text) for text in VALUES[name].value]
        for name in names
    }
    for flag, given in {"curves": names, **{VALUES[x].name: values[x] for x in names}}.items():
        if not given:
            raise UserError(f"{flag}: got an empty list, allowed is at least one")
    table, plots = (check_output_file("output", f"{OUTPUT.value}.{kind}") for kind in KINDS)
    model, case = find_model_and_case()
    check_points(model, case, values)
    points: list[Point] = []
    for point in measure_curves(model, case, values):
        points.append(point)
        said = "does not fit" if point.height is None else f"{point.height:.3g} s"
        print(f"{point.curve} {point.value}: {said}", flush=True)
        plot_curves(points, plots)
        write(table, points, model, case)


def find_model_and_case() -> tuple[BenchmarkModel, BenchmarkCase]:
    """What all points share, by the flags and by the device where they do not say."""
    on_cpu = jax.default_backend() == "cpu"
    name = (DEFAULT_MODEL if on_cpu else "lpd_l") if MODEL.value is None else MODEL.value
    dtype = ("float32" if on_cpu else "bfloat16") if DTYPE.value is None else DTYPE.value
    model = find_benchmark_model(name, "")._replace(tokenizer=None, directory=None)
    if NUM_LAYERS.value:
        model = with_config(model, num_layers=NUM_LAYERS.value)
    return model, BenchmarkCase(
        name,
        num_steps=NUM_STEPS.value,
        guidance_scale=GUIDANCE_SCALE.value,
        dtype=dtype,
        num_repeats=NUM_REPEATS.value,
    )


def write(file: Path, points: list[Point], model: BenchmarkModel, case: BenchmarkCase) -> None:
    told: dict[str, Any] = {
        "model": case.model,
        "transformer": config_to_dict(model.transformer),
        "steps": case.num_steps,
        "guidance": case.guidance_scale,
        "dtype": case.dtype,
        "device": provenance.device_name(),
        "busy before": f"{provenance.load_average():.2g} processes",
        "versions": provenance.versions(),
        "commit": provenance.git_commit(),
        "command": " ".join(["python launch/scaling.py", *sys.argv[1:]]),
        "points": [dataclasses.asdict(one) for one in points],
    }
    with replacing_file(file, "the curves") as temporary:
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command_line.run(main)
