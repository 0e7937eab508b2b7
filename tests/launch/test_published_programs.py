"""The table of all published models as a user asks for it."""

import pytest

from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "published_programs.py"
WRONG = [
    ([], "output: missing; allowed is the beginning of the names of two files"),
    (["--output=r", "--models=lpd_m"], "models: got 'lpd_m', allowed are arpg_l,"),
    (["--output=r", "--models="], "models: got an empty list, allowed is at least one"),
    (["--output=r", "--topology=v9-1"], "topology: got 'v9-1', allowed are names such as"),
    (["--output=r", "--train_topology=9xh100"], "train_topology: got '9xh100', allowed are names"),
    (
        ["--output=r", "--topology=", "--train_topology="],
        "topology: got an empty list, allowed is at least one",
    ),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    cases = [options for options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], [f"published_programs.py: {WRONG[case][1]}"])
