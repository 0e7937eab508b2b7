import numpy as np
import pytest

from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "make_orders.py"


def test_makes_a_bank_and_finds_it_again(tmp_path):
    options = ["--height=4", "--width=6", "--group_sizes=1,3,20", "--num_orders=30", "--seed=2"]
    first = tiny.run_python(SCRIPT, *options, f"--cache_dir={tmp_path}/bank", cwd=tmp_path)
    assert first.returncode == 0 and "30/30" in first.stderr
    path = first.stdout.split()[-1]
    assert first.stdout.startswith("30 locality orders in ") and np.load(path).shape == (30, 24)
    again = tiny.run_python(SCRIPT, *options, f"--cache_dir={tmp_path}/bank", cwd=tmp_path)
    assert (again.returncode, again.stderr, again.stdout.split()[-1]) == (0, "", path)


WRONG = [
    ("--num_steps=257", ["num_steps: got 257", "from 1 to 256"]),
    ("--order=rastre", ["order: got 'rastre'", "did you mean 'raster'"]),
    ("--group_sizes=1,two", ["group_sizes: got 'two'", "whole numbers"]),
    (f"--cache_dir={SCRIPT}", ["cache_dir: got '", "make_orders.py is a file"]),
    (f"--cache_dir={SCRIPT}/bank", ["cache_dir: got '", "make_orders.py is a file"]),
    ("--order=halton --repulsion_threshold=1", ["repulsion_threshold: given with order halton"]),
    ("--width=0", ["grid: got (16, 0)", "from 1"]),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    cases = [["--cache_dir=bank", *options.split()] for options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
