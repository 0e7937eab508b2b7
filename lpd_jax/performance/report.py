"""Measurements as a table: on the screen, as JSON, as Markdown."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lpd_jax.performance.benchmark_case import DRAWING, TASKS, TRAINING
from lpd_jax.performance.device_peaks import DevicePeaks
from lpd_jax.performance.measure import Measurement
from lpd_jax.performance.timing import Quartiles
from lpd_jax.runtime.markdown import markdown_table, write_report

NUM_TEXTS = 2
# Left out of the table, and told beside it, where all rows agree.
CHOICES = ("dtype", "guided", "segments", "remat", "attention", "layers", "runs")
COLUMNS = (
    "images: of a batch; tokens, steps: of an image",
    "rows: of an image that the transformer computes, as a multiple of those that matter",
    "compile, again: tracing and compiling from nothing, and from the persistent cache",
    "time: the median, and the middle half of the runs; those of PyTorch come in turns with ours",
    "memory: arguments, outputs and temporaries of the compiled program at their peak",
    "weights: reading all weights in every step, at the measured bandwidth",
    "FLOPs: what matters of the arithmetic, at the measured rate",
    "x floor: time over the larger of these two; x PyTorch: time over that of the eager peer",
    "orders are made, and weights cast, before the clock starts",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured, and with what."""

    title: str
    protocol: Mapping[str, Any]  # device, versions, commit, command
    peaks: DevicePeaks
    measurements: Sequence[Measurement]


def write(report: Report, json_file: Path, markdown_file: Path) -> None:
    """Writes both, each whole or not at all."""
    write_report(to_json(report), to_markdown(report), json_file, markdown_file)


def to_json(report: Report) -> dict[str, Any]:
    """All numbers, those that follow from others too."""
    derived = ("images_per_second", "times_lower_bound", "times_peer")
    rows = [
        {
            **dataclasses.asdict(one),
            "work": one.work._asdict(),
            "seconds": one.seconds and one.seconds._asdict(),
            "peer_seconds": one.peer_seconds and one.peer_seconds._asdict(),
            **{name: getattr(one, name) for name in derived},
        }
        for one in report.measurements
    ]
    return {
        "title": report.title,
        "protocol": dict(report.protocol),
        "peaks": dataclasses.asdict(report.peaks),
        "measurements": rows,
    }


def to_markdown(report: Report) -> str:
    """The table, then what its columns mean and what it was made with."""
    lines = [f"# {report.title}", "", *table(report.measurements), ""]
    lines += [f"- {shared_line(report.measurements)}"]
    lines += [f"- {task}: {TASKS[task]}" for task in tasks(report.measurements)]
    lines += [f"- {text}" for text in COLUMNS]
    lines += ["", "## Protocol", ""]
    lines += [f"- {name}: {value}" for name, value in report.protocol.items()]
    lines += [f"- {line}" for line in peak_lines(report.peaks)]
    return "\n".join(lines) + "\n"


def tasks(measurements: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(one.case.task for one in measurements))


def peak_lines(peaks: DevicePeaks) -> list[str]:
    """How fast the device is at best, in words."""
    lines = [
        f"large {dtype} matrix product: {flops / 1e12:.3g} TFLOP/s"
        for dtype, flops in peaks.matmul_flops.items()
    ]
    return [*lines, f"large copy, read and written: {peaks.copy_bandwidth / 1e9:.3g} GB/s"]


def table(measurements: Sequence[Measurement]) -> list[str]:
    """One row for each; the same columns for all families, schedules and tasks."""
    rows = list(map(cells, measurements))
    shown = [name for name in rows[0] if name not in shared(rows)]
    return markdown_table(shown, ([row[name] for name in shown] for row in rows), NUM_TEXTS)


def progress_line(one: Measurement) -> str:
    """One measurement by itself, on a line."""
    return ", ".join(f"{name} {text}" for name, text in cells(one).items() if text)


def shared_line(measurements: Sequence[Measurement]) -> str:
    """The choices that all rows agree in."""
    found = shared(list(map(cells, measurements)))
    return "all rows: " + ", ".join(f"{name} {value}" for name, value in found.items() if value)


def shared(rows: Sequence[Mapping[str, str | None]]) -> dict[str, str | None]:
    """Choices that have one value, or none, in the whole table."""
    values = {name: {row[name] for row in rows} - {None} for name in CHOICES}
    return {name: next(iter(found), None) for name, found in values.items() if len(found) <= 1}


def cells(one: Measurement) -> dict[str, str | None]:
    """Texts by the heads of their columns."""
    case, time, (weights, arithmetic) = one.case, one.seconds, one.lower_bounds
    draws, trains = case.task in DRAWING, case.task in TRAINING
    return {
        "model": case.what,
        "task": case.task,
        "dtype": case.dtype,
        "images": str(case.batch_size),
        "tokens": str(one.num_tokens),
        "steps": number(one.num_steps),
        "guided": ("yes" if case.guidance_scale != 1 else "no") if draws else None,
        "segments": number(one.work.num_segments),
        "remat": case.remat if trains else None,
        "attention": case.attention if trains else None,
        "layers": ("unrolled" if case.unroll_layers else "in a loop") if trains else None,
        "runs": str(time.num_runs if time else case.num_repeats),
        "rows": rows_cell(one),
        "compile s": number(one.compile_seconds),
        "again s": number(one.compile_again_seconds),
        "time s": quartiles_cell(time) or "does not fit",
        "images/s": number(one.images_per_second),
        "memory GB": None if one.memory_bytes is None else number(one.memory_bytes / 1e9),
        "weights s": number(weights),
        "FLOPs s": number(arithmetic),
        "x floor": number(one.times_lower_bound),
        "PyTorch s": quartiles_cell(one.peer_seconds),
        "x PyTorch": number(one.times_peer),
    }


def quartiles_cell(time: Quartiles | None) -> str | None:
    if time is None:
        return None
    return f"{number(time.median)} ({number(time.lower_quartile)} to {number(time.upper_quartile)})"


def rows_cell(one: Measurement) -> str | None:
    exact, padded = one.work.exact_rows, one.work.padded_rows
    return f"{padded / exact:.2f} x {exact}" if exact and padded else None


def number(value: float | None) -> str | None:
    """Three digits that count."""
    if value is None:
        return None
    return f"{value:.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"
