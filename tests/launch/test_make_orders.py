import numpy as np
import pytest

from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "make_orders.py"


def test_makes_a_bank_and_finds_it_again(tmp_path):
    options = ["--height=4", "--width=6", "--group_sizes=1,3,20", "--num_orders=30", "--seed=2"]
    first = tiny.run_python(SCRIPT, *options, f"--cache_dir={tmp_path}/bank", cwd=tmp_path)
    assert first.returncode == 0 and "30/30" in first.stderr
    path = first.stdout.split()[-1]
    assert first.stdout.startswith("30 locality orders in ") and np.load(path).shape == (30, 24)
    again = tiny.run_python(SCRIPT, *options, f"--cache_dir={tmp_path}/bank", cwd=tmp_path)
    assert (again.returncode, again.stderr, again.stdout.split()[-1]) == (0, "", path)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--num_steps=257", ["num_steps: got 257", "from 1 to 256"]),
        ("--order=rastre", ["order: got 'rastre'", "did you mean 'raster'"]),
        ("--group_sizes=1,two", ["group_sizes: got 'two'", "whole numbers"]),
        ("--width=0", ["grid: got (16, 0)", "from 1"]),
    ],
)
def test_a_wrong_option_is_one_line(option, words, tmp_path):
    result = tiny.run_python(SCRIPT, option, f"--cache_dir={tmp_path}/bank", cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert all(word in result.stderr for word in words)
    assert not list(tmp_path.iterdir())
