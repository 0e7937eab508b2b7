"""Measures how drawing grows, one curve and one plot each.

    python launch/scaling.py                                    # a model of LPD-L's width, 2 layers
    python launch/scaling.py --num_layers=0 --batch_sizes=1,2,4,8,16,32,64,128,256   # all of it
    python launch/scaling.py --curves=grid --grids=16,32,64 --dtype=bfloat16
    python launch/scaling.py --curves=segments,layers --layers=2,6,12,24

Time against images at a time, against steps, against the side of the grid; seconds to compile
against scans and against layers. Writes OUTPUT.json and OUTPUT_batch.png and so on; both grow with
each point.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from absl import flags

from lpd_jax.performance.allocator import keep_freed_memory
from lpd_jax.performance.benchmark_case import BenchmarkCase
from lpd_jax.performance.benchmark_model import find_benchmark_model
from lpd_jax.performance.scaling import (
    CURVES,
    Point,
    check_points,
    measure_curves,
    plot_curve,
    with_config,
)
from lpd_jax.runtime import command_line, provenance
from lpd_jax.runtime.arguments import check_choice, parse_whole
from lpd_jax.runtime.atomic_files import check_output_file, replacing_file
from lpd_jax.runtime.errors import UserError

MODEL = flags.DEFINE_string("model", "lpd_l", "A published name; weights are random.")
NUM_LAYERS = flags.DEFINE_integer(
    "num_layers", 2, "Of all curves but that of layers; 0 is as many as the model has.", 0
)
CURVE_NAMES = flags.DEFINE_list("curves", list(CURVES), f"Of {', '.join(CURVES)}.")
VALUES = {
    "batch": flags.DEFINE_list("batch_sizes", ["1", "2", "4", "8"], "Images at a time."),
    "steps": flags.DEFINE_list("steps", ["8", "16", "32", "64", "128", "256"], "Of one grid."),
    "grid": flags.DEFINE_list("grids", ["16", "24", "32"], "Sides of square grids, in tokens."),
    "segments": flags.DEFINE_list("segments", ["1", "2", "4", "8"], "Scans of a schedule."),
    "layers": flags.DEFINE_list("layers", ["1", "2", "4", "8"], "Of the model."),
}
NUM_STEPS = flags.DEFINE_integer("num_steps", 20, "Of the other curves, on the model's own grid.")
GUIDANCE_SCALE = flags.DEFINE_float("guidance_scale", 4.8, "1 is off.")
DTYPE = flags.DEFINE_string("dtype", "float32", "float32 or bfloat16.")
NUM_REPEATS = flags.DEFINE_integer("num_repeats", 3, "Timed runs of each point.", 1, 10**6)
OUTPUT = flags.DEFINE_string("output", "results/scaling", "Beginning of the names of the files.")


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
    outputs = {name: check_output_file("output", f"{OUTPUT.value}_{name}.png") for name in names}
    table = check_output_file("output", f"{OUTPUT.value}.json")
    model = find_benchmark_model(MODEL.value, "")
    if NUM_LAYERS.value:
        model = with_config(model, num_layers=NUM_LAYERS.value)
    case = BenchmarkCase(
        MODEL.value,
        num_steps=NUM_STEPS.value,
        guidance_scale=GUIDANCE_SCALE.value,
        dtype=DTYPE.value,
        num_repeats=NUM_REPEATS.value,
    )
    check_points(model, case, values)
    points: list[Point] = []
    for point in measure_curves(model, case, values):
        points.append(point)
        print(f"{point.curve} {point.value}: {point.height:.3g} s", flush=True)
        plot_curve([one for one in points if one.curve == point.curve], outputs[point.curve])
        write(table, points)


def write(file: Path, points: list[Point]) -> None:
    told: dict[str, Any] = {
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
