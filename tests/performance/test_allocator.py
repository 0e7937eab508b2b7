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
from lpd_jax.performance.allocator import (keep_freed_memory)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)  # taken, touched, freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

mapped = min(faults() for _ in range(4))
print(keep_freed_memory(), mapped, min(faults() for _ in range(4)))
"""


def test_pages_are_not_cleared_again_for_each_array():
    command = [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    kept, mapped, again = done.stdout.split()
    if kept == "False":
        pytest.skip("needs glibc")
    assert int(again) < 0.1 * int(mapped)


@pytest.mark.parametrize("platforms", ["cuda", "cuda,cpu", "tpu"])
def test_accelerators_go_without(platforms):
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", platforms)
    try:
        assert not keep_freed_memory()
    finally:
        jax.config.update("jax_platforms", before)
