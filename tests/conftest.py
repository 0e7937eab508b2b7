"""Strictness for every test: ranks never promote, and any test can shard over 8 devices."""

import atexit
import importlib.metadata
import os
import shutil
import tempfile

# What tests compile runs for milliseconds: making it fast takes longer than running it slowly.
# Read when JAX is imported, and by the processes that tests start.
xla_flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
jaxlib = importlib.metadata.version("jaxlib")  # a version ends at a flag that it lacks
if jaxlib.startswith(("0.10.", "0.11.")):
    xla_flags += " --xla_cpu_parallel_codegen_split_count=1"  # splitting small programs takes time
if jaxlib.startswith("0.10."):
    xla_flags += " --xla_cpu_use_fusion_emitters=false"  # the old ones compile in half the time
os.environ.setdefault("XLA_FLAGS", xla_flags)

# Threads of two libraries in the way of each other, and of the other worker.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Workers, tests and the launch scripts that they start share what they compiled, and leave the
# user's own cache alone. The first process that comes by here makes the folder; those that it
# starts find its name.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lpd_jax_tests_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax  # noqa: E402
import pytest  # noqa: E402
from jax.extend.backend import clear_backends  # noqa: E402

from lpd_jax.decoding import step_table  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

# The number of CPU devices is fixed when the backend starts, and only starting it tells whether
# an accelerator took the CPU's place: ask, then start again with eight.
if jax.default_backend() == "cpu" and jax.device_count() != 8:
    clear_backends()
    jax.config.update("jax_num_cpu_devices", 8)
elif jax.default_backend() != "cpu":
    # Accelerators multiply float32 in fewer bits unless told: golden values need them all.
    jax.config.update("jax_default_matmul_precision", "highest")
    from lpd_jax.models import settings

    settings.drawing_dtype = lambda: "float32"


@pytest.fixture(scope="module")
def one_scan():
    """Compiles in less time; that segments change nothing is tested in models/test_families.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_table, "NUM_SEGMENTS", 1)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    has_gpu, count = jax.default_backend() == "gpu", jax.device_count()
    for item in items:
        if "gpu" in item.keywords and not has_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
        wanted = item.get_closest_marker("devices")
        if wanted is not None and count < wanted.args[0]:
            item.add_marker(pytest.mark.skip(reason=f"needs {wanted.args[0]} devices"))
