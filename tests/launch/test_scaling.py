"""Curves of a tiny model: points, plots and what is refused."""

import pytest

from lpd_jax.performance.benchmark_case import BenchmarkCase
from lpd_jax.performance.benchmark_model import BenchmarkModel
from lpd_jax.performance.scaling import CURVES, check_points, measure_curves, plot_curve
from lpd_jax.runtime.errors import UserError
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "scaling.py"
MODEL = BenchmarkModel("tiny", tiny.LPD, None)
CASE = BenchmarkCase("tiny", num_steps=4, num_segments=1, num_repeats=1)


@pytest.mark.slow
def test_every_curve_has_points_and_a_plot(tmp_path):
    values = {name: [1, 2] for name in CURVES} | {"grid": [4, 6]}
    check_points(MODEL, CASE, values)
    points = list(measure_curves(MODEL, CASE, values))
    assert [(p.curve, p.value) for p in points] == [
        (name, value) for name in CURVES for value in values[name]
    ]
    for name, curve in CURVES.items():
        found = [p for p in points if p.curve == name]
        assert all((p.seconds is not None) == curve.times and p.height > 0 for p in found)
        plot_curve(found, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


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
