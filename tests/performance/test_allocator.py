"""Memory that the process keeps."""

import os
import subprocess
import sys

import jax
import pytest

from lpd_jax.performance.allocator import keep_freed_memory

SCRIPT = """
import resource
import numpy as np
from lpd_jax.performance.allocator import give_back_freed_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)  # taken, touched, freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

mapped = min(faults() for _ in range(4))
kept = keep_freed_memory()
print(kept, mapped, min(faults() for _ in range(4)))
if not kept:
    raise SystemExit
first, between, last = (np.ones(64 << 20, np.uint8) for _ in range(3))
del between
before = resident()
give_back_freed_memory()
print(before - resident())
"""


def test_pages_are_not_cleared_again_for_each_array():
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept, mapped, again, *given_back = done.stdout.split()
    if kept == "False":
        pytest.skip("needs glibc")
    assert int(again) < 0.1 * int(mapped)
    assert int(*given_back) > 60  # MB, from between what is in use


@pytest.mark.parametrize("platforms", ["cuda", "cuda,cpu", "tpu"])
def test_accelerators_go_without(platforms):
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", platforms)
    try:
        assert not keep_freed_memory()
    finally:
        jax.config.update("jax_platforms", before)
