"""What families count from sizes, against masks, parameters and what XLA counts."""

import dataclasses

import jax
import numpy as np
import pytest

from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.models.family import find_model, tokenizer_of, transformer_of
from lpd_jax.models.par_layout import slot_mask
from lpd_jax.models.parameters import abstract_params, count_params
from lpd_jax.models.pixels import decode_images, encode_images
from lpd_jax.models.randar import grouped_mask
from tests import tiny

LPD_L = find_model("lpd_l")


@pytest.mark.parametrize("num_steps", [1, 20, 256])
def test_a_lpd_step_sees_what_the_training_mask_shows(num_steps):
    schedule, D = make_schedule(256, num_steps), LPD_L.embed_dim
    mask_TT = np.asarray(teacher_forcing_mask(schedule.group_of_rank()))
    fed = 1 + schedule.group_starts[-1]  # nobody looks at the last group's tokens
    products = 2 * 12 * D**2 * (fed + 256)
    attention = 4 * D * (mask_TT[:fed].sum() + mask_TT[256:].sum())
    logits = 2 * D * LPD_L.codebook_size * 256
    want = LPD_L.num_layers * (products + attention) + logits
    family = transformer_of(LPD_L)
    assert family.decoding_flops(schedule) == pytest.approx(want, rel=1e-12)
    assert family.count_rows(schedule).exact == fed + 256


@pytest.mark.parametrize("name", ["llamagen_l", "par_l_4x", "par_l_16x"])
def test_a_par_step_sees_what_its_mask_shows(name):
    model = find_model(name)
    products = 2 * 576 * (4 * model.embed_dim**2 + 3 * model.embed_dim * model.mlp_dim)
    attention = 4 * model.embed_dim * slot_mask(model).sum()
    logits = 2 * model.embed_dim * model.codebook_size * 576
    want = model.num_layers * (products + attention) + logits
    family = transformer_of(model)
    assert family.decoding_flops(family.schedule()) == pytest.approx(want, rel=1e-12)
    assert family.count_rows(family.schedule()) == (576, 576, None)


@pytest.mark.parametrize("num_steps", [1, 88, 256])
def test_a_randar_step_sees_what_is_before_it(num_steps):
    model = find_model("randar_l")
    family = transformer_of(model)
    schedule, D = family.schedule(num_steps), model.embed_dim
    mask_TT = np.asarray(grouped_mask(schedule.group_of_rank()))
    last = schedule.group_starts[-1]  # of the last group nothing is fed back
    kept = np.arange(1 + 2 * last)
    # The first instruction of a group is computed once, when it asks.
    kept = np.setdiff1d(kept, [1 + 2 * start for start in schedule.group_starts])
    rows = np.append(kept, 512 + np.arange(256))
    assert family.count_rows(schedule).exact == len(rows)
    products = 2 * len(rows) * (4 * D**2 + 3 * D * model.mlp_dim)
    want = model.num_layers * (products + 4 * D * mask_TT[rows].sum()) + 2 * D * 256 * 16384
    assert family.decoding_flops(schedule) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("num_steps", [1, 64, 256])
def test_an_arpg_step_sees_the_groups_before_it(num_steps):
    model = find_model("arpg_l")
    family = transformer_of(model)
    schedule, D = family.schedule(num_steps), model.embed_dim
    mask_TT = np.asarray(teacher_forcing_mask(schedule.group_of_rank()))
    read = 1 + schedule.group_starts[-1]
    mlp = 3 * D * model.mlp_dim
    products = 2 * (read * (4 * D**2 + mlp) + 256 * (2 * D**2 + mlp))
    attention = 4 * D * (mask_TT[:read, :256].sum() + mask_TT[256:, :256].sum())
    memory = 2 * read * 2 * D**2
    want = model.half * (products + attention) + memory + 2 * D * 256 * 16384
    assert family.decoding_flops(schedule) == pytest.approx(want, rel=1e-12)
    assert family.count_rows(schedule).exact == read + 256


@pytest.mark.parametrize("model", [tiny.LPD, tiny.PAR, tiny.RANDAR], ids=["lpd", "par", "randar"])
def test_matrices_of_a_layer_are_those_of_the_parameters(model):
    blocks = jax.tree_util.tree_leaves_with_path(abstract_params(model)["blocks"])
    kernels = sum(leaf.size for path, leaf in blocks if path[-1].key == "kernel")
    assert transformer_of(model).layer_weights() * model.num_layers == kernels


def test_segments_pad_rows_and_enough_of_them_pad_none():
    family, schedule = transformer_of(LPD_L), make_schedule(256, 20)
    assert family.count_rows(schedule, 1) == (493, 800, 1)
    assert family.count_rows(schedule, 20)[:2] == (493, 493)
    assert 493 <= family.count_rows(schedule).padded < 800


TOKENIZER = dataclasses.replace(tiny.VQ, base_channels=64, channel_multipliers=(1, 2), patch_size=2)
SMALL_TOKENIZER = dataclasses.replace(
    TOKENIZER,
    decoder_channels=128,
    decoder_blocks=1,
    pixel_channels=16,
    upsampling="subpixel",
    attention="middle",
    quantizer="fsq",
    fsq_levels=(8, 8, 8),
    codebook_size=512,
    codebook_dim=3,
)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(TOKENIZER, marks=pytest.mark.slow, id="plain"),
        pytest.param(SMALL_TOKENIZER, id="options"),
    ],
)
def test_a_tokenizer_costs_what_xla_counts(config, part):
    params = abstract_params(config)
    if part == "encoder":
        pictures = jax.ShapeDtypeStruct((1, 128, 128, 3), np.uint8)
        lowered = encode_images.lower(config, params, pictures)
    else:
        tokens = jax.ShapeDtypeStruct((1, 1024), np.int32)
        lowered = decode_images.lower(config, params, tokens, (32, 32))
    costs = lowered.cost_analysis()
    if costs is None:
        pytest.skip("only a CPU counts before it compiles")
    # XLA adds norms and activations, and leaves out products with the edge's zeros.
    counted = tokenizer_of(config).part_flops(part, (32, 32))
    assert counted == pytest.approx(costs["flops"], rel=0.08)


def test_parts_of_a_tokenizer_are_all_of_it_but_the_codebook():
    family, codebook = tokenizer_of(tiny.VQ), tiny.VQ.codebook_size * tiny.VQ.codebook_dim
    parts = family.part_bytes("encoder") + family.part_bytes("decoder")
    assert parts == 4 * (count_params(tiny.VQ) - codebook)
