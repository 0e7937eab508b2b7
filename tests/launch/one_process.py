"""A launch script called many times in one process: Python and JAX start once, not once a case."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tests import tiny

# Reads [[folder, options], ...], runs the script in each folder, writes the outcomes.
DRIVER = """
import contextlib, importlib.util, io, json, os, pathlib, sys
from absl.testing import flagsaver
from lpd_jax.runtime import command_line

def start(module):
    run = getattr(module, "run", None)
    if run is not None and run.__module__.startswith("lpd_jax.commands."):
        run()
    else:
        command_line.run(module.main)

script, cases_file, outcomes_file = sys.argv[1:]
cases = json.load(open(cases_file))
sys.argv = [script]
spec = importlib.util.spec_from_file_location("script", script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
outcomes = []
for folder, options in cases:
    os.chdir(folder)
    sys.argv = [script, *options]
    out, err = io.StringIO(), io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            start(module)
        except SystemExit as stop:
            code = stop.code
    files = {f.name: f.read_text() if f.suffix == ".json" else "" for f in pathlib.Path().iterdir()}
    outcomes.append([code, out.getvalue(), err.getvalue(), files])
json.dump(outcomes, open(outcomes_file, "w"))
"""
# A sixtieth of the bundled pictures: a study as it is, in seconds.
FEW_PICTURES = """
from lpd_jax import bundled
load_all = bundled.load_avatars
bundled.load_avatars = lambda split: tuple(part[::60] for part in load_all(split))
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str
    files: dict[str, str]  # in the folder afterwards, by name: the text of .json, nothing of others


def run_cases(
    script: pathlib.Path,
    cases: Sequence[tuple[pathlib.Path, Sequence[str]]],
    folder: pathlib.Path,
    before: str = "",
) -> list[Outcome]:
    """Runs a script once for each (working folder, options); a defect's traceback fails the test.

    Args:
        folder: for what the driver reads and writes.
        before: Python code that runs first.
    """
    plan = [[str(place), list(map(str, options))] for place, options in cases]
    (folder / "cases.json").write_text(json.dumps(plan))
    run = subprocess.run(
        [sys.executable, "-c", before + DRIVER, script, folder / "cases.json", folder / "out.json"],
        # Threads for small matrices wait for each other longer than they compute.
        env={**tiny.process_environment(folder / "compiled"), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return [Outcome(*outcome) for outcome in json.loads((folder / "out.json").read_text())]


def refused(
    script: pathlib.Path, cases: Sequence[Sequence[str]], folder: pathlib.Path
) -> list[Outcome]:
    """Runs a script with each of the options, in a new folder of its own for each."""
    places = []
    for i, options in enumerate(cases):
        place = folder / f"case_{i}"
        place.mkdir()
        places.append((place, options))
    return run_cases(script, places, folder)


def check_refusal(outcome: Outcome, words: Sequence[str]) -> None:
    """One line on standard error with these words, exit code 2, and nothing written."""
    check_line(outcome, words)
    assert not outcome.files


def check_line(outcome: Outcome, words: Sequence[str]) -> None:
    """The same where the folder held files before."""
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert not [word for word in words if word not in outcome.err], outcome.err
