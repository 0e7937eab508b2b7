"""Reports on compiled programs, here for the CPU's simulated devices in place of a slice."""

import dataclasses

import jax
import pytest

from lpd_jax.models.parameters import count_params
from lpd_jax.performance import compile_report, largest_model
from lpd_jax.performance.compile_report import DoesNotFit, compile_decoding, compile_training, table
from lpd_jax.performance.topology import CHIPS, Slice
from lpd_jax.runtime.mesh import MeshConfig, make_mesh
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.utilization import training_flops
from tests import tiny

SLICE = Slice("v5e-8", CHIPS["v5e"], (2, 4))
CONFIG = TrainConfig(num_steps=10, batch_size=16, mesh=MeshConfig(fsdp=4))


@pytest.fixture(autouse=True)
def simulated_slice(monkeypatch):
    monkeypatch.setattr(
        compile_report, "slice_mesh", lambda where, fsdp: make_mesh(MeshConfig(fsdp=fsdp))
    )
    monkeypatch.setitem(compile_report.VQ_MODELS, "vq16", tiny.VQ)


def test_a_train_step_is_reported_as_it_is_compiled():
    report = compile_training(tiny.LPD, CONFIG, SLICE)
    assert (report.num_devices, report.mesh, report.batch_per_device) == (8, (2, 4, 1), 2)
    assert report.model_flops == 2 * training_flops(tiny.LPD)
    # Parameters and two moments, a quarter on each device, are the least of what is there.
    assert report.memory_bytes > 3 * 4 * count_params(tiny.LPD) / 4
    # A device gives away its part of the gradient at least once.
    assert report.sent_bytes > 4 * count_params(tiny.LPD) / 4
    low, high = report.seconds
    assert 0 < low <= high and 0 < report.efficiency[0] <= report.efficiency[1] <= 1


def test_a_batch_that_does_not_fit_is_cut_into_parts(monkeypatch):
    tried = []

    def compile_step(model, config, where):
        tried.append(config.compute.accumulate_steps)
        if tried[-1] < enough:
            raise DoesNotFit("memory: too much")
        return tried[-1]

    monkeypatch.setattr(compile_report, "compile_step", compile_step)
    enough = 2
    assert compile_training(tiny.LPD, CONFIG, SLICE) == 2 and tried == [1, 2]
    tried.clear()
    enough = 4  # of two images on a device
    with pytest.raises(DoesNotFit):
        compile_training(tiny.LPD, CONFIG, SLICE)
    assert tried == [1, 2]


def test_a_decode_sends_nothing_and_halves_what_does_not_fit(monkeypatch):
    report = compile_decoding(tiny.LPD, 4, 2.0, 2, SLICE)
    assert report.what == "decode, 4 steps" and report.batch_per_device == 2
    assert report.sent_bytes == 0
    whole = compile_report.compile_on

    def compile_on(mesh, function, *arguments):
        if arguments[2].shape[0] > 8:
            raise DoesNotFit("memory: too much")
        return whole(mesh, function, *arguments)

    monkeypatch.setattr(compile_report, "compile_on", compile_on)
    assert compile_decoding(tiny.LPD, 4, 2.0, 4, SLICE).batch_per_device == 1


def test_only_a_lack_of_memory_is_one():
    class Fails:
        def __init__(self, message):
            self.message = message

        def lower(self):
            raise jax.errors.JaxRuntimeError(self.message)

    mesh = make_mesh(MeshConfig())
    with pytest.raises(DoesNotFit, match="^memory: RESOURCE_EXHAUSTED: 18G$"):
        compile_report.compile_on(mesh, Fails("RESOURCE_EXHAUSTED: 18G\nmore lines"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        compile_report.compile_on(mesh, Fails("INTERNAL: a bug"))


def test_a_program_too_large_for_a_device_does_not_fit():
    small = SLICE._replace(chip=SLICE.chip._replace(memory_bytes=1000.0))
    with pytest.raises(DoesNotFit, match=r"^memory: the program needs 0.0 GB, a device of v5e-8 h"):
        compile_report.compile_step(tiny.LPD, CONFIG, small)


def test_a_table_has_a_cell_for_each_heading():
    report = compile_training(tiny.LPD, CONFIG, SLICE)
    header, rule, row = table([report])
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| train step | ") and "| 2x4x1 |" in row


@pytest.mark.parametrize(("widest", "guess"), [(2048, 4), (2048, 2), (2048, 6), (512, 3)])
def test_the_largest_model_is_next_to_one_that_does_not_fit(widest, guess, monkeypatch):
    tried = []

    def compile_step(model, config, where):
        tried.append(model.embed_dim)
        assert (config.batch_size, config.mesh.fsdp, config.compute.remat) == (8, 8, "full")
        assert (model.num_layers, model.num_heads) == (model.embed_dim // 32, model.embed_dim // 64)
        if model.embed_dim > widest:
            raise DoesNotFit("memory: too much")
        return model

    monkeypatch.setattr(largest_model, "compile_step", compile_step)
    monkeypatch.setattr(largest_model, "first_guess", lambda *_: guess)
    assert largest_model.compile_largest(tiny.LPD, CONFIG, SLICE).embed_dim == widest
    assert widest + 512 in tried and len(tried) == len(set(tried))


def test_a_slice_that_nothing_fits_is_refused(monkeypatch):
    def compile_step(*_):
        raise DoesNotFit("memory: too much")

    monkeypatch.setattr(largest_model, "compile_step", compile_step)
    with pytest.raises(ValueError, match=r"^topology: got 'v5e-8', which no model fits"):
        largest_model.compile_largest(tiny.LPD, CONFIG, SLICE)


def test_a_first_guess_leaves_room_for_activations():
    config = dataclasses.replace(tiny.LPD, codebook_size=16384)
    steps = largest_model.first_guess(config, SLICE)
    room = 8 * 16e9
    taken = [12 * count_params(largest_model.scaled(config, 512 * n)) for n in (steps, steps + 1)]
    assert taken[0] < room / 2 <= taken[1]


def test_remat_is_counted_as_arithmetic():
    full = dataclasses.replace(CONFIG, compute=ComputeConfig(remat="full"))
    plain, again = (compile_training(tiny.LPD, config, SLICE) for config in (CONFIG, full))
    assert again.model_flops == plain.model_flops
    assert again.compute_seconds == pytest.approx(4 / 3 * plain.compute_seconds)
