"""How drawing grows with batch, steps and grid, and compiling it with scans and layers."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    """

    title: str
    along: str
    points: Callable[[BenchmarkModel, BenchmarkCase, int], tuple[BenchmarkModel, BenchmarkCase]]
    times: bool = True


@dataclasses.dataclass(frozen=True)
class Point:
    curve: str
    value: int
    compile_seconds: float
    seconds: Quartiles | None  # of one run; None where it is not run

    @property
    def height(self) -> float:
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
    "grid": Curve("Time against the side of the grid", "tokens a side", of_grid),
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

    Args:
        case: what all points share; tokens are drawn, no pictures.
        values: of the curves wanted, keys of `CURVES`.
    """
    for name, along in values.items():
        for value in along:
            point, at = CURVES[name].points(model, case, value)
            workload = make_workload(at, point, make_inputs(at, point))
            with empty_compilation_cache():
                program, compile_seconds = compile_timed(workload.function, workload.arguments)
            seconds = None
            if CURVES[name].times:
                runs = time_in_turns({"run": runner(program, workload)}, at.num_repeats)
                seconds = runs["run"]
            yield Point(name, value, compile_seconds, seconds)


def plot_curve(points: Sequence[Point], file: Path) -> None:
    """One curve, its axes logarithmic, beside a line in proportion to what varies."""
    curve = CURVES[points[0].curve]
    x, y = [p.value for p in points], [p.height for p in points]
    figure = Figure(figsize=(6.4, 4), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, y, marker="o", markersize=4, label="measured")
    axes.plot(x, [y[0] * value / x[0] for value in x], color="#AAAAAA", label="in proportion")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(x, [str(value) for value in x])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.set_xlabel(curve.along)
    axes.set_ylabel("seconds" if curve.times else "seconds to compile")
    axes.set_title(curve.title, fontsize=10)
    axes.legend(frameon=False, fontsize=7)
    with replacing_file(file, "the plot") as temporary:
        figure.savefig(temporary, format="png")
