"""FLOPs of a training pass, counted two ways, and peaks by the name of a device."""

import jax
import pytest

from lpd_jax.models.lpd import LPD, LPDConfig
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.vq_tokenizer import VQ_MODELS
from lpd_jax.training.utilization import peak_flops, training_flops


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("cpu", None),
    ],
)
def test_the_longest_name_decides(kind, peak):
    assert peak_flops(kind) == peak


def test_flops_are_those_of_the_compiled_forward_pass():
    # One layer: XLA counts the body of a loop once.
    model = LPDConfig(1, 256, 4, grid_size=(8, 8), codebook_size=2048, num_classes=3)
    inputs = LPD(model).example_inputs()
    forward = jax.jit(lambda params: LPD(model).apply({"params": params}, *inputs))
    counted = forward.lower(abstract_params(model)).compile().cost_analysis()["flops"]
    assert training_flops(model) / 3 == pytest.approx(counted, rel=0.05)


def test_a_tokenizer_is_not_counted():
    assert training_flops(VQ_MODELS["vq16"]) is None
