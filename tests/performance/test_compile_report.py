"""Reports on compiled programs, here for the CPU's simulated devices in place of a slice."""

import contextlib
import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.models.adversarial_loss import AdversarialConfig
from lpd_jax.models.discriminator import DiscriminatorConfig
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.settings import Generation
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.performance import compile_report, largest_model
from lpd_jax.performance.compile_report import compile_decoding, compile_training, how_to_draw
from lpd_jax.performance.program_needs import DoesNotFit, check_memory, table
from lpd_jax.performance.topology import CHIPS, Slice
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.mesh import MeshConfig, make_mesh
from lpd_jax.training import tokenizer_updates
from lpd_jax.training.compute_config import ComputeConfig
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.utilization import training_flops
from tests import tiny

SLICE = Slice("v5e-8", CHIPS["v5e"], (2, 4))
CONFIG = TrainConfig(num_steps=10, batch_size=16, mesh=MeshConfig(fsdp=4))
FAMILIES = pytest.mark.parametrize(
    "model", [tiny.LPD, tiny.PAR, tiny.RANDAR, tiny.ARPG], ids=["lpd", "par", "randar", "arpg"]
)


@pytest.fixture(scope="module", autouse=True)
def simulated_slice():
    """Eight simulated devices in place of those that libtpu knows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile_report, "slice_mesh", lambda _, config: make_mesh(config))
        yield


@functools.cache
def training_report(model):
    return compile_training(model, CONFIG, SLICE)


@pytest.mark.parametrize(
    "model",
    [
        tiny.LPD,
        *(pytest.param(x, marks=pytest.mark.slow) for x in (tiny.PAR, tiny.RANDAR, tiny.ARPG)),
    ],
    ids=["lpd", "par", "randar", "arpg"],
)
def test_a_train_step_is_reported_as_it_is_compiled(model):
    report = training_report(model)
    assert (report.num_devices, report.mesh, report.batch_per_device) == (8, (2, 4, 1), 2)
    assert report.model_flops == 2 * training_flops(model)
    # Parameters and two moments, a quarter on each device, are the least of what is there.
    assert report.memory_bytes > 3 * 4 * count_params(model) / 4
    # A device gives away its part of the gradient at least once.
    assert report.sent_bytes > 4 * count_params(model) / 4
    low, high = report.seconds
    assert 0 < low <= high and 0 < report.efficiency[0] <= report.efficiency[1] <= 1
    assert report.utilization == pytest.approx([0.5 * share for share in report.efficiency])


@pytest.mark.slow
def test_a_tokenizers_step_is_reported_with_its_networks(monkeypatch):
    """No weights of a frozen network are read: only their shapes count."""
    monkeypatch.setattr(tokenizer_updates, "load_perceptual", None)
    config = dataclasses.replace(
        CONFIG,
        data=DataConfig(image_size=32),
        tokenizer_loss=TokenizerLossConfig(perceptual_weight=1.0),
        adversarial=AdversarialConfig(start_step=5),
        discriminator=DiscriminatorConfig(channels=4, num_layers=1),
    )
    report = compile_training(tiny.VQ, config, SLICE)
    assert report.model == "VQ 0.178 M" and report.batch_per_device == 2
    family = tokenizer_of(tiny.VQ)
    forward = sum(family.part_flops(part, (16, 16)) for part in ("encoder", "decoder"))
    # Two pictures, forward and backward; EfficientNet and the discriminator come on top.
    assert report.model_flops > 2 * 3 * forward
    frozen = count_params(tiny.VQ) * 3 * 4 + 4 * 3e6
    assert report.memory_bytes > frozen
    assert report.sent_bytes > 4 * count_params(tiny.VQ)


@pytest.mark.parametrize(
    ("model", "num_steps", "order"),
    [(tiny.LPD, 2, "locality"), (tiny.PAR, None, "region")],
    ids=["lpd", "par"],
)
def test_a_decode_draws_as_its_family_does_and_sends_nothing(model, num_steps, order):
    asked = Generation(num_steps=num_steps, guidance_scale=2.0)
    generation = how_to_draw(model, dataclasses.replace(CONFIG, generation=asked))
    assert (generation.order, generation.guidance_scale) == (order, 2.0)
    report = compile_decoding(model, tiny.VQ, generation, 2, SLICE)
    assert report.what == f"decode, {num_steps or 7} steps"
    assert (report.batch_per_device, report.sent_bytes) == (2, 0)
    assert report.model_flops == 2 * 2 * transformer_of(model).forward_flops()  # images, guidance


def test_a_schedule_that_the_family_does_not_know_is_refused():
    config = dataclasses.replace(CONFIG, generation=Generation(num_steps=5))
    assert how_to_draw(tiny.LPD, config).num_steps == 5
    with pytest.raises(UserError, match="^num_steps: got 5, allowed is 7: this PAR model"):
        how_to_draw(tiny.PAR, config)


def test_a_batch_that_does_not_fit_is_cut_into_parts(monkeypatch):
    tried = []

    def compile_step(model, config, tpu_slice):
        tried.append(config.compute.accumulate_steps)
        if tried[-1] < enough:
            raise DoesNotFit("memory: too much")
        return SimpleNamespace(computed_again=0, parts=tried[-1])

    monkeypatch.setattr(compile_report, "compile_step", compile_step)
    enough = 2
    assert compile_training(tiny.LPD, CONFIG, SLICE).parts == 2 and tried == [1, 2]
    tried.clear()
    enough = 4  # of two images on a device
    with pytest.raises(DoesNotFit):
        compile_training(tiny.LPD, CONFIG, SLICE)
    assert tried == [1, 2]


@pytest.mark.parametrize(
    ("seconds", "again", "want"),
    [([3.0, 2.0, 1.0], [9, 5, 0], 4), ([3.0, 2.0, 2.5], [9, 5, 0], 2), ([3.0, 2.0], [0, 0], 1)],
)
def test_parts_are_tried_where_the_compiler_computes_again(seconds, again, want, monkeypatch):
    config = dataclasses.replace(CONFIG, batch_size=4 * SLICE.num_devices)

    def compile_step(model, config, tpu_slice):
        parts = config.compute.accumulate_steps
        index = parts.bit_length() - 1
        time = (seconds[index],) * 2
        return SimpleNamespace(computed_again=again[index], parts=parts, seconds=time)

    monkeypatch.setattr(compile_report, "compile_step", compile_step)
    assert compile_training(tiny.LPD, config, SLICE).parts == want


@pytest.mark.parametrize(("enough", "want"), [(4, [4]), (1, [4, 2, 1]), (0, [4, 2, 1])])
def test_a_decode_that_does_not_fit_is_halved(enough, want, monkeypatch):
    tried = []

    def compile_schedule(model, tokenizer, generation, batch_per_device, tpu_slice, share):
        assert share == 0.5
        tried.append(batch_per_device)
        if batch_per_device > enough:
            raise DoesNotFit("memory: too much")

    monkeypatch.setattr(compile_report, "compile_schedule", compile_schedule)
    with contextlib.nullcontext() if enough else pytest.raises(DoesNotFit):
        compile_decoding(tiny.LPD, tiny.VQ, Generation(), 4, SLICE, 0.5)
    assert tried == want


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


@pytest.fixture(scope="module")
def small_program():
    """Compiled: 4000 bytes in, 4000 out."""
    return jax.jit(jnp.negative).lower(jnp.ones(1000)).compile()


def test_a_program_too_large_for_a_device_does_not_fit(small_program):
    assert check_memory(small_program, SLICE) >= 8000
    small = SLICE._replace(chip=SLICE.chip._replace(memory_bytes=1000.0))
    with pytest.raises(DoesNotFit, match="^memory: got a program of 0.0 GB, allowed are the 1e-06"):
        check_memory(small_program, small)


def test_a_table_has_a_cell_for_each_heading():
    header, rule, lpd, par = table([training_report(tiny.LPD), training_report(tiny.PAR)])
    assert len({line.count("|") for line in (header, rule, lpd, par)}) == 1
    assert lpd.startswith("| train step | LPD ") and "| 2x4x1 |" in lpd
    assert par.startswith("| train step | PAR ")


@pytest.mark.parametrize(("widest", "guess"), [(2048, 4), (2048, 2), (2048, 6), (512, 3)])
def test_the_largest_model_is_next_to_one_that_does_not_fit(widest, guess, monkeypatch):
    tried = []

    def compile_step(model, config, tpu_slice):
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


def test_a_model_that_does_not_grow_in_width_is_refused():
    with pytest.raises(UserError, match="^model: got a TrainConfig without embed_dim, num_heads"):
        largest_model.compile_largest(CONFIG, CONFIG, SLICE)


def test_a_slice_that_nothing_fits_is_refused(monkeypatch):
    def compile_step(*_):
        raise DoesNotFit("memory: too much")

    monkeypatch.setattr(largest_model, "compile_step", compile_step)
    with pytest.raises(UserError, match=r"^topology: got 'v5e-8', which no model fits"):
        largest_model.compile_largest(tiny.LPD, CONFIG, SLICE)


def test_a_first_guess_leaves_room_for_activations():
    config = dataclasses.replace(tiny.LPD, codebook_size=16384)
    steps = largest_model.first_guess(config, SLICE)
    room = 8 * 16e9
    taken = [12 * count_params(largest_model.scaled(config, 512 * n)) for n in (steps, steps + 1)]
    assert taken[0] < room / 2 <= taken[1]


def test_what_is_sent_asynchronously_hides_behind_arithmetic():
    report = dataclasses.replace(
        training_report(tiny.LPD), compute_seconds=4.0, link_seconds=2.0, async_share=0.75
    )
    assert report.seconds == (4.5, 6.0)
    assert dataclasses.replace(report, compute_seconds=1.0).seconds == (2.0, 3.0)


def test_remat_is_counted_as_arithmetic(small_program, monkeypatch):
    monkeypatch.setattr(compile_report, "compile_on", lambda *_, **__: (small_program, 0.0))
    full = dataclasses.replace(CONFIG, compute=ComputeConfig(remat="full"))
    plain, again = (compile_training(tiny.LPD, config, SLICE) for config in (CONFIG, full))
    assert again.model_flops == plain.model_flops
    assert again.compute_seconds == pytest.approx(4 / 3 * plain.compute_seconds)
