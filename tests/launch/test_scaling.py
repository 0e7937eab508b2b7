"""Curves of a tiny model: points, plots and what is refused."""

import jax
import pytest
from PIL import Image

from lpd_jax.performance import scaling
from lpd_jax.performance.benchmark_case import BenchmarkCase
from lpd_jax.performance.benchmark_model import BenchmarkModel
from lpd_jax.performance.scaling import CURVES, check_points, measure_curves, plot_curves
from lpd_jax.performance.timing import quartiles
from lpd_jax.runtime.errors import UserError
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "scaling.py"
MODEL = BenchmarkModel("tiny", tiny.LPD, None)
CASE = BenchmarkCase("tiny", num_steps=4, num_segments=1, num_repeats=1)


@pytest.mark.slow
def test_every_curve_has_points():
    values = {name: [1, 2] for name in CURVES} | {"grid": [4, 6]}
    check_points(MODEL, CASE, values)
    points = list(measure_curves(MODEL, CASE, values))
    assert [(p.curve, p.value) for p in points] == [
        (name, value) for name in CURVES for value in values[name]
    ]
    for point in points:
        assert (point.seconds is not None) == CURVES[point.curve].times and point.height > 0


def made_points(name, *seconds):
    return [scaling.Point(name, 2**i, 1.0, quartiles([s])) for i, s in enumerate(seconds)]


def test_every_curve_has_a_plot(tmp_path):
    width = {}
    for num_curves in (1, 2, len(CURVES)):
        points = [p for name in list(CURVES)[:num_curves] for p in made_points(name, 1.0, 3.0)]
        file = tmp_path / f"{num_curves}.png"
        plot_curves([*points, scaling.Point("batch", 4)], file)
        with Image.open(file) as picture:
            width[num_curves] = picture.width
    assert width[2] == 2 * width[1] and width[len(CURVES)] == len(CURVES) * width[1]


def test_where_nothing_fits_there_is_a_plot_without_curves(tmp_path):
    plot_curves([scaling.Point("batch", 1)], tmp_path / "none.png")
    assert (tmp_path / "none.png").exists()


def test_a_curve_ends_where_memory_does(monkeypatch):
    def compile_timed(function, arguments):
        compiled.append(arguments[1].shape[0])
        if compiled[-1] == 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return (lambda *arguments: arguments[1]), 1.0

    compiled = []
    monkeypatch.setattr(scaling, "compile_timed", compile_timed)
    values = {"batch": [1, 2, 4], "segments": [1]}
    points = list(measure_curves(MODEL, CASE, values))
    told = [(p.curve, p.value, p.height is None) for p in points]
    assert told == [("batch", 1, False), ("batch", 2, True), ("segments", 1, False)]
    assert compiled == [1, 2, 1]


def test_another_fault_of_a_program_is_no_lack_of_memory(monkeypatch):
    def compile_timed(function, arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr(scaling, "compile_timed", compile_timed)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        list(measure_curves(MODEL, CASE, {"batch": [1]}))


def test_a_point_that_cannot_be_is_named_before_anything_runs():
    with pytest.raises(UserError, match="^steps 17: num_steps: got 17, allowed "):
        check_points(MODEL, CASE, {"batch": [1], "steps": [4, 17]})


def test_grids_change_steps_in_proportion():
    model, case = CURVES["grid"].points(MODEL, CASE, 8)
    assert model.transformer.grid_size == (8, 8) and case.num_steps == 8


EMPTY = ["curves", "steps"]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    cases = [["--output=s", f"--{flag}="] for flag in EMPTY]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(EMPTY)), ids=EMPTY)
def test_nothing_to_measure_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], [EMPTY[case], "empty list", "at least one"])
