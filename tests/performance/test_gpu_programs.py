"""Programs compiled for GPUs that are not there; needs JAX's CUDA plugin, but no card.

What the counts say of a tiny model, so that what was mended stays mended.
"""

import dataclasses
import importlib.util
import json

import pytest

from lpd_jax.models.parameters import count_params
from tests import tiny

MODEL = dataclasses.replace(tiny.LPD, embed_dim=64)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("jax_cuda13_plugin") is None, reason="needs jax-cuda13-plugin"
    ),
]
# In a process that looks for no card: where one is asked for and missing, JAX drops the plugin.
PROGRAM = """
import dataclasses, json, sys
from lpd_jax.decoding import step_table
from lpd_jax.models.settings import Generation
from lpd_jax.performance.by_layers import compile_few
from lpd_jax.performance.compile_report import compile_decoding, compile_training
from lpd_jax.performance.topology import find_slices
from lpd_jax.runtime.mesh import MeshConfig
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.config import TrainConfig
from tests import tiny

name, what, family = sys.argv[1:]
step_table.NUM_SEGMENTS = 1  # four steps in four scans would be no loop
MODEL = dataclasses.replace(getattr(tiny, family), embed_dim=64)  # wide heads: no tiny copy
generation = Generation(num_steps=4, guidance_scale=2.0)
compute = ComputeConfig(dtype="bfloat16", remat="minimal")
config = TrainConfig(num_steps=10, batch_size=16, mesh=MeshConfig(fsdp=8), compute=compute)
if what == "einsum":
    compute = dataclasses.replace(compute, attention="einsum")
    config = dataclasses.replace(config, compute=compute, mesh=MeshConfig())
def decode(model, card):
    return compile_decoding(model, tiny.VQ, generation, 4, card)
for card in find_slices(name, ["cuBLASLt"] if what == "layers" else ["Triton", "cuBLASLt"]):
    if what == "layers":
        deep = dataclasses.replace(MODEL, num_layers=5)
        told = compile_few(lambda model: decode(model, card), deep, (2, 3), card)
        told = dataclasses.replace(told, slice="told")
        print("REPORT", json.dumps(dataclasses.asdict(told)))
        report = decode(deep, card)
    elif what == "decode":
        report = decode(MODEL, card)
    else:
        report = compile_training(MODEL, config, card)
    print("REPORT", json.dumps(dataclasses.asdict(report)))
"""


def reports(name, what, cwd, family="LPD"):
    told = tiny.run_python("-c", PROGRAM, name, what, family, cwd=cwd, timeout=1500)
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stdout.splitlines() if line.startswith("REPORT ")]
    return {one["slice"]: one for one in (json.loads(line[7:]) for line in lines)}


def test_a_decode_for_an_h100(tmp_path):
    found = reports("h100", "decode", tmp_path)
    assert found.keys() == {"h100, Triton", "h100, cuBLASLt"}
    for report in found.values():
        launches, moved_bytes = report["kernels"]
        # In each of four steps and two layers there are four products and attention's two, or more.
        assert 4 * 2 * 6 <= launches < 600
        # The transformer's weights are read in each step.
        assert moved_bytes > 4 * 2 * count_params(MODEL)
        assert report["sent_bytes"] == 0
        in_loops, in_layers, casts, copies, _, attention = report["kinds"]
        # Of four images: where rows are no multiple of 8, cuBLASLt pads them first.
        assert casts == copies == 0
        assert attention == "__cudnn$fmhaScaleBiasSoftmax"
        assert 4 * 2 * 7 <= in_layers < in_loops < launches
    _, in_layers, *_ = found["h100, cuBLASLt"]["kinds"]
    # A layer: four products, three that lie between, attention, its input, two writes; once, the
    # mask. Triton's products may take two kernels each where no card measures.
    assert in_layers <= 4 * (2 * 11 + 1)
    # Of each step the host starts the loop's condition alone.
    once, a_turn = found["h100, cuBLASLt"]["outside_graphs"]
    assert a_turn <= 1


def test_randar_looks_at_one_cache_and_no_weights_are_copied(tmp_path):
    report = reports("h100", "decode", tmp_path, "RANDAR")["h100, cuBLASLt"]
    _, in_layers, casts, copies, _, attention = report["kinds"]
    assert casts == copies == 0 and attention == "__cudnn$fmhaScaleBiasSoftmax"
    # A layer: five products, two norms of two kernels each, SwiGLU; attention, its queries turned,
    # two writes; once, the mask. Gate and up side by side, or a second cache, would be more.
    assert in_layers <= 4 * (2 * 14 + 1)


def test_training_in_bfloat16_has_no_float32_products(tmp_path):
    for report in reports("h100", "einsum", tmp_path).values():
        assert report["kinds"][4] == 0


def test_a_train_step_for_eight_h100s(tmp_path):
    for report in reports("8xh100", "train", tmp_path).values():
        assert report["mesh"] == [1, 8, 1] and report["batch_per_device"] == 2
        # All that the others hold is gathered, and gradients go back.
        assert report["sent_bytes"] > 7 / 8 * 2 * 2 * count_params(MODEL)
        assert report["kernels"][0] > 50


def test_a_deep_decode_is_told_by_two_with_few_layers(tmp_path):
    found = reports("h100", "layers", tmp_path)
    told, compiled = found["told"], found["h100, cuBLASLt"]
    assert told["num_layers"] == compiled["num_layers"] == 5
    for name in ("kernels", "kinds"):
        numbers = [
            (a, b) for a, b in zip(told[name], compiled[name], strict=True) if isinstance(a, int)
        ]
        assert all(abs(a - b) <= 0.05 * b for a, b in numbers), name
