"""Deep models told from shallow ones: a line through two programs."""

import dataclasses

import pytest

from lpd_jax.performance.by_layers import check_layers, compile_few, continued
from lpd_jax.performance.kernel_kinds import KernelKinds, Outside
from lpd_jax.performance.kernels import Kernels
from lpd_jax.performance.program_needs import DoesNotFit, ProgramNeeds
from lpd_jax.performance.topology import find_slice
from lpd_jax.runtime.errors import UserError
from tests import tiny

DEEP = dataclasses.replace(tiny.LPD, num_layers=24)


def program(model, batch_per_device=1):
    """Ten kernels a step and 11 a layer, in 4 steps; 3 GB and one of each layer."""
    layers = model.num_layers
    return ProgramNeeds(
        what="decode, 4 steps",
        model="few",
        slice="h100, cuBLASLt",
        num_devices=1,
        mesh=(1, 1, 1),
        batch_per_device=batch_per_device,
        parts=1,
        compile_seconds=5.0 * layers,
        memory_bytes=(3 + layers) * 10**9,
        model_flops=2.0 * layers,
        sent_bytes=0.0,
        compute_seconds=0.5 + layers,
        link_seconds=0.0,
        kernels=Kernels(4 * (10 + 11 * layers) + 7, 100 * layers),
        kinds=KernelKinds(4 * (10 + 11 * layers), 4 * 11 * layers, 0, 1, 0, "flash"),
        outside_graphs=Outside(2, 1),
        num_layers=layers,
        num_steps=4,
    )


def test_a_line_through_two_programs_is_a_third():
    two, four, deep = (program(dataclasses.replace(DEEP, num_layers=n)) for n in (2, 4, 24))
    assert continued(two, four, 24) == dataclasses.replace(deep, compile_seconds=120.0)
    without = [dataclasses.replace(one, outside_graphs=None) for one in (two, four)]
    assert continued(*without, 24).outside_graphs is None


def test_a_deep_model_is_told_by_two_with_few_layers():
    card = find_slice("h100")
    needs = compile_few(program, DEEP, (2, 4), card)
    assert (needs.kernels_a_step, needs.kernels_a_layer) == (10 + 11 * 24, 11)
    assert needs.model.endswith(", 24 x 16 (of 2 and 4)") and needs.compile_seconds == 30
    small = card._replace(chip=card.chip._replace(memory_bytes=20e9))
    with pytest.raises(DoesNotFit, match=r"^memory: got a program of 27\.0 GB by its layers"):
        compile_few(program, DEEP, (2, 4), small)
    with pytest.raises(DoesNotFit):  # the larger was halved
        compile_few(lambda model: program(model, 8 / model.num_layers), DEEP, (2, 4), card)


@pytest.mark.parametrize("layers", [(0, 2), (2, 2), (4, 2), (2, 25)])
def test_other_numbers_of_layers_are_refused(layers):
    with pytest.raises(UserError, match=f"^decode_layers: got {layers[0]},{layers[1]}, allowed"):
        check_layers(DEEP, layers)
