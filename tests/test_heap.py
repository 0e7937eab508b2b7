"""Memory that the process keeps."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from lpd_jax.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)  # taken, touched, freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
mapped = faults()
kept = keep_freed_memory()
faults()
print(kept, mapped, faults())
"""


def test_pages_are_not_cleared_again_for_each_array():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    kept, mapped, again = done.stdout.split()
    if kept == "False":
        pytest.skip("needs a CPU backend and glibc")
    assert int(again) < 0.1 * int(mapped)
