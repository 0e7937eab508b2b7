"""What is chosen by device, where there is no other device than the CPU."""

from types import SimpleNamespace

import jax
import pytest

from lpd_jax.decoding import device_choices
from lpd_jax.decoding.device_choices import PLAIN, Device, capability_of, target_device


def choices_on(monkeypatch, device):
    monkeypatch.setattr(device_choices, "target_device", lambda: device)
    return device_choices.device_choices()


def test_the_mesh_in_force_says_what_is_compiled_for():
    here = jax.devices()[0]
    assert target_device() == Device(here.platform, capability_of(here))
    for kind, platform, want in [
        ("NVIDIA H100 80GB HBM3", "cuda", Device("gpu", (8, 0))),
        ("TPU v5 lite", "tpu", Device("tpu")),
    ]:
        device = jax.sharding.AbstractDevice(device_kind=kind, num_cores=None, platform=platform)
        mesh = jax.sharding.AbstractMesh((1,), ("data",), abstract_device=device)
        with jax.sharding.use_abstract_mesh(mesh):
            assert target_device() == want


@pytest.mark.parametrize(
    ("told", "capability"), [("9.0", (9, 0)), ("7.5", (7, 5)), ("gfx942", ()), (None, ())]
)
def test_only_nvidia_has_a_capability_of_numbers(told, capability):
    device = SimpleNamespace() if told is None else SimpleNamespace(compute_capability=told)
    assert capability_of(device) == capability


@pytest.mark.parametrize("device", [Device("cpu"), Device("tpu"), Device("gpu")])
def test_all_but_nvidia_have_the_plain_form(monkeypatch, device):
    choices = choices_on(monkeypatch, device)
    of_cpus = {name: getattr(PLAIN, name) for name in ("unseen_bytes", "pixels_in_dtype")}
    assert choices._replace(**of_cpus) == PLAIN
    assert choices.padded(257) == 257


def test_a_cpu_cuts_a_long_scan_sooner(monkeypatch):
    cpu, gpu, tpu = (choices_on(monkeypatch, Device(name)) for name in ("cpu", "gpu", "tpu"))
    assert cpu.unseen_bytes < gpu.unseen_bytes == tpu.unseen_bytes


def test_gpus_have_few_kernels_and_padded_caches(monkeypatch):
    old, new = (choices_on(monkeypatch, Device("gpu", x)) for x in ((7, 5), (9, 0)))
    assert old.one_write and not old.flash_attention and new.flash_attention
    assert new.padded(257) == 264 and new.padded(264) == 264


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        (Device("cpu"), "float32"),
        (Device("tpu"), "bfloat16"),
        (Device("gpu", (9, 0)), "bfloat16"),
        (Device("gpu", (8, 0)), "bfloat16"),
        (Device("gpu", (7, 5)), "float32"),
        (Device("gpu"), "float32"),
    ],
)
def test_pictures_are_drawn_in_bfloat16_where_it_is_fast(monkeypatch, device, wanted):
    monkeypatch.setattr(device_choices, "target_device", lambda: device)
    assert device_choices.drawing_dtype() == wanted
