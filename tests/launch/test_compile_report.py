"""The compile report as a user runs it; what it compiles is tested beside its module."""

import pytest

from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "compile_report.py"


WRONG = [
    ("avatars_vq", ["--largest"], "largest: got True, allowed for a tokenizer is False"),
    ("avatars_par", ["--config.generation.num_steps=5"], "num_steps: got 5, allowed is"),
    ("avatars_par", ["--topology=v9-16"], "topology: got 'v9-16', allowed are names"),
    ("avatars_par", ["--decode_layers=2"], "decode_layers: got 2, allowed are two numbers: 2,4"),
    ("avatars_vq", ["--notrain"], "train: got False, allowed is True where there is no decode"),
    ("avatars_par", ["--notrain", "--decode_batch=0"], "train: got False, allowed is True where"),
    ("avatars_par", ["--notrain", "--largest"], "train: got False, allowed with largest is True"),
    ("avatars_par", ["--topology="], "topology: got an empty list, allowed is at least one"),
    ("avatars_par", ["--decode_layers=4,2"], "decode_layers: got 4,2, allowed are two numbers,"),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    cases = [
        [f"--config={tiny.REPOSITORY / 'configs' / config}.py", "--output=r.md", *options]
        for config, options, _ in WRONG
    ]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][1]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], [f"compile_report.py: {WRONG[case][2]}"])
