"""Programs compiled for TPUs that are not there; needs libtpu, but no TPU."""

import dataclasses
import importlib.util
import json

import jax
import pytest

from lpd_jax.models.parameters import abstract_params, count_params
from tests import tiny

MODEL = dataclasses.replace(tiny.LPD, embed_dim=128)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu"),
]
PROGRAM = """
import dataclasses, json, os
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
from lpd_jax.performance.compile_report import compile_training
from lpd_jax.performance.topology import find_slice
from lpd_jax.runtime.mesh import MeshConfig
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.config import TrainConfig
from tests import tiny

MODEL = dataclasses.replace(tiny.LPD, embed_dim=128)
compute = ComputeConfig(dtype="bfloat16", remat="minimal")
config = TrainConfig(num_steps=10, batch_size=32, mesh=MeshConfig(fsdp=4), compute=compute)
report = compile_training(MODEL, config, find_slice("v5e-16"))
print("REPORT", json.dumps(dataclasses.asdict(report)))
"""


def test_a_device_sends_what_its_shards_need_and_no_more(tmp_path):
    """What a collective on a TPU repeats in each of its steps is counted once."""
    told = tiny.run_python("-c", PROGRAM, cwd=tmp_path, timeout=1500)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout.split("REPORT ")[1])
    assert report["mesh"] == [4, 4, 1]
    num_params = count_params(MODEL)
    in_blocks = sum(leaf.size for leaf in jax.tree.leaves(abstract_params(MODEL)["blocks"]))
    # Bfloat16 weights are gathered twice, gradients summed over shards and then over data.
    shards = 2 * in_blocks * (2 * 3 / 4 + 3 / 4 + 2 * 3 / 4 / 4)
    # Tables are float32, and gathered once; what is left are norms and biases.
    tables = 4 * (num_params - in_blocks) * (3 / 4 + 2)
    assert 0.8 * shards < report["sent_bytes"] < 1.2 * (shards + tables)
    assert 0 < report["async_share"] < 1
