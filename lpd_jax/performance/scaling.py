"""How drawing grows with batch, steps and grid, and compiling it with scans and layers."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: no window, no global state

from lpd_jax.performance.benchmark_case import BenchmarkCase, make_inputs
from lpd_jax.performance.benchmark_model import BenchmarkModel
from lpd_jax.performance.timing import (
    Quartiles,
    compile_timed,
    empty_compilation_cache,
    time_in_turns,
)
from lpd_jax.performance.workload import make_workload, runner
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.errors import UserError


class Curve(NamedTuple):
    """What varies, and what is looked at.

    points: (model, case, value) -> the model and case of a point.
    times: whether points are run; else they are compiled, from nothing.
    power: of the value that the work is in proportion to; 2 of a side.
    """

    title: str
    along: str
    points: Callable[[BenchmarkModel, BenchmarkCase, int], tuple[BenchmarkModel, BenchmarkCase]]
    times: bool = True
    power: int = 1


@dataclasses.dataclass(frozen=True)
class Point:
    curve: str
    value: int
    compile_seconds: float | None = None  # None where memory does not suffice
    seconds: Quartiles | None = None  # of one run; None where it is not run

    @property
    def height(self) -> float | None:
        return self.seconds.median if self.seconds else self.compile_seconds


def with_config(model: BenchmarkModel, **fields: Any) -> BenchmarkModel:
    config: Any = model.transformer
    return model._replace(transformer=dataclasses.replace(config, **fields))


def of_batch(model: BenchmarkModel, case: BenchmarkCase, value: int) -> Any:
    return model, dataclasses.replace(case, batch_size=value)


def of_steps(model: BenchmarkModel, case: BenchmarkCase, value: int) -> Any:
    return model, dataclasses.replace(case, num_steps=value)


def of_grid(model: BenchmarkModel, case: BenchmarkCase, value: int) -> Any:
    """A square grid; steps grow with its side, as those that are published do."""
    side = model.transformer.grid_size[-1]
    steps = None if case.num_steps is None else max(1, case.num_steps * value // side)
    return with_config(model, grid_size=(value, value)), dataclasses.replace(case, num_steps=steps)


def of_segments(model: BenchmarkModel, case: BenchmarkCase, value: int) -> Any:
    return model, dataclasses.replace(case, num_segments=value)


def of_layers(model: BenchmarkModel, case: BenchmarkCase, value: int) -> Any:
    return with_config(model, num_layers=value), case


CURVES: Mapping[str, Curve] = {
    "batch": Curve("Time against images at a time", "images", of_batch),
    "steps": Curve("Time against decoding steps", "steps", of_steps),
    "grid": Curve("Time against the side of the grid", "tokens a side", of_grid, power=2),
    "segments": Curve("Compiling against scans", "segments", of_segments, times=False),
    "layers": Curve("Compiling against depth", "layers", of_layers, times=False),
}


def check_points(
    model: BenchmarkModel, case: BenchmarkCase, values: Mapping[str, Sequence[int]]
) -> None:
    """Refuses now what a point would refuse later; UserError says which."""
    for name, along in values.items():
        for value in along:
            try:
                point, at = CURVES[name].points(model, case, value)
                make_inputs(dataclasses.replace(at, batch_size=1), point)
            except UserError as error:
                raise UserError(f"{name} {value}: {error}") from None


def measure_curves(
    model: BenchmarkModel, case: BenchmarkCase, values: Mapping[str, Sequence[int]]
) -> Iterator[Point]:
    """Point by point; a program of each is compiled from nothing.

    A curve ends with the first point that does not fit into memory.

    Args:
        case: what all points share; tokens are drawn, no pictures.
        values: of the curves wanted, keys of `CURVES`.
    """
    for name, along in values.items():
        for value in along:
            point = measure_point(name, value, *CURVES[name].points(model, case, value))
            yield point
            if point.height is None:
                break


def measure_point(name: str, value: int, model: BenchmarkModel, case: BenchmarkCase) -> Point:
    try:
        workload = make_workload(case, model, make_inputs(case, model))
        with empty_compilation_cache():
            program, compile_seconds = compile_timed(workload.function, workload.arguments)
        if not CURVES[name].times:
            return Point(name, value, compile_seconds)
        runs = time_in_turns({"run": runner(program, workload)}, case.num_repeats)
        return Point(name, value, compile_seconds, runs["run"])
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Point(name, value)


def plot_curves(points: Sequence[Point], file: Path) -> None:
    """All curves that have a point, a plot each, side by side."""
    by_curve: dict[str, list[Point]] = {}
    for point in points:
        if point.height is not None:
            by_curve.setdefault(point.curve, []).append(point)
    num_plots = max(1, len(by_curve))
    figure = Figure(figsize=(4.6 * num_plots, 3.8), dpi=130, layout="constrained")
    all_axes = figure.subplots(1, num_plots, squeeze=False)[0]
    for axes, curve_points in zip(all_axes, by_curve.values(), strict=False):
        plot_curve(axes, curve_points)
    with replacing_file(file, "the plot") as temporary:
        figure.savefig(temporary, format="png")


def plot_curve(axes: Axes, points: Sequence[Point]) -> None:
    """One curve, its axes logarithmic, beside a line in proportion to the work."""
    curve = CURVES[points[0].curve]
    x, y = [p.value for p in points], [p.height or 0 for p in points]
    axes.plot(x, y, marker="o", markersize=4, label="measured")
    line = [y[0] * (value / x[0]) ** curve.power for value in x]
    label = "in proportion" + (" to tokens" if curve.power == 2 else "")
    axes.plot(x, line, color="#AAAAAA", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(x, [str(value) for value in x])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.set_xlabel(curve.along)
    axes.set_ylabel("seconds" if curve.times else "seconds to compile")
    axes.set_title(curve.title, fontsize=10)
    axes.legend(frameon=False, fontsize=7)
