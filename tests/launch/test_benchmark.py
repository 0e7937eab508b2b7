"""The benchmark as a user runs it."""

import json

import pytest

from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "benchmark.py"
# The device's peaks take seconds to measure and are not under test.
QUICK = (
    "from lpd_jax.performance import device_peaks; device_peaks.SIZES = {};"
    "device_peaks.LARGE_SIZES = (64, 1000);"
)
RUN = (
    f"import sys, runpy; sys.argv[0] = {str(SCRIPT)!r};"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


def benchmark(model, cwd, *options, before=QUICK):
    options = (f"--model={model}", "--output=r", "--num_repeats=1", *options)
    return tiny.run_python("-c", before + RUN, *options, cwd=cwd)


@pytest.mark.slow  # compiles four programs, each twice
def test_prints_a_table_and_writes_it_as_json_and_markdown(model, tmp_path):
    result = benchmark(
        model, tmp_path, "--tasks=tokens,decode", "--num_steps=4,16", "--num_segments=1,2"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-2:] == ["wrote r.json", "wrote r.md"]
    told = json.loads((tmp_path / "r.json").read_text())
    cases = [
        (row["case"]["task"], row["case"]["num_steps"], row["case"]["num_segments"])
        for row in told["measurements"]
    ]
    drawn = [("tokens", steps, segments) for steps in (4, 16) for segments in (1, 2)]
    assert cases == [*drawn, ("decode", None, None)]
    assert told["protocol"]["peer"] == "none" and told["protocol"]["commit"]
    assert told["protocol"]["command"].startswith("python launch/benchmark.py --model=")
    table = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(table) == 7 and all(line in (tmp_path / "r.md").read_text() for line in table)


WRONG = [
    (["--tasks="], "model, tasks, batch_sizes: got an empty list"),
    (["--batch_sizes=1,x"], "batch_sizes: got 'x', allowed are whole numbers"),
    (["--num_steps=17"], "num_steps: got 17"),
    (["--order=spiral"], "order: got 'spiral'"),
    (["--preset=all"], "flag --preset=all"),
    (["--preset=readme"], "model: given beside preset 'readme'"),
    (["--tokenizer=vq16"], "tokenizer: given without a published model"),
    (["--output=nowhere/r"], "output: got 'nowhere/r.json'"),
    (["--model=nowhere"], "model: got 'nowhere'"),
]


@pytest.fixture(scope="module")
def refusals(model, tmp_path_factory):
    cases = [[f"--model={model}", "--output=r", "--num_repeats=1", *more] for more, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], [f"benchmark.py: {WRONG[case][1]}"])


def test_a_missing_pytorch_is_one_line(model, tmp_path):
    hide = "import sys; sys.modules['torch'] = None;"
    result = benchmark(model, tmp_path, "--peer", before=QUICK + hide)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("benchmark.py: peer: got True, but torch is not installed")
    assert result.stderr.count("\n") == 1 and "lpd_jax[peer]" in result.stderr
