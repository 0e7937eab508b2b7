"""Work counted from sizes, against masks, parameters and what XLA counts."""

import dataclasses

import jax
import numpy as np
import pytest

from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.decoding.step_table import teacher_forcing_mask
from lpd_jax.generation.generate import decode_images, encode_images
from lpd_jax.models.lpd import LPD_MODELS
from lpd_jax.models.par_layout import PAR_MODELS, par_schedule, slot_mask
from lpd_jax.models.parameters import abstract_params, count_params
from lpd_jax.performance import flops_and_bytes
from lpd_jax.performance.benchmark_case import Case
from lpd_jax.performance.benchmark_model import Subject
from lpd_jax.performance.device_peaks import Ceilings
from tests import tiny

LPD_L = LPD_MODELS["lpd_l"]
NAMED = Subject("lpd_l", LPD_L, tiny.VQ)
TWENTY = make_schedule(256, 20)


@pytest.mark.parametrize("num_steps", [1, 20, 256])
def test_a_lpd_step_sees_what_the_training_mask_shows(num_steps):
    schedule, D = make_schedule(256, num_steps), LPD_L.embed_dim
    mask_TT = np.asarray(teacher_forcing_mask(schedule.group_of_rank()))
    fed = 1 + schedule.group_starts[-1]  # nobody looks at the last group's tokens
    products = 2 * 12 * D**2 * (fed + 256)
    attention = 4 * D * (mask_TT[:fed].sum() + mask_TT[256:].sum())
    logits = 2 * D * LPD_L.codebook_size * 256
    want = LPD_L.num_layers * (products + attention) + logits
    assert flops_and_bytes.decoding_flops(LPD_L, schedule) == pytest.approx(want, rel=1e-12)
    assert flops_and_bytes.count_rows(LPD_L, schedule, None)[0] == fed + 256


@pytest.mark.parametrize("name", ["llamagen_l", "par_l_4x", "par_l_16x"])
def test_a_par_step_sees_what_its_mask_shows(name):
    model = PAR_MODELS[name]
    products = 2 * 576 * (4 * model.embed_dim**2 + 3 * model.embed_dim * model.mlp_dim)
    attention = 4 * model.embed_dim * slot_mask(model).sum()
    logits = 2 * model.embed_dim * model.codebook_size * 576
    want = model.num_layers * (products + attention) + logits
    assert flops_and_bytes.decoding_flops(model, par_schedule(model)) == pytest.approx(
        want, rel=1e-12
    )
    assert flops_and_bytes.count_rows(model, par_schedule(model), None) == (576, 576, None)


@pytest.mark.parametrize("model", [tiny.LPD, tiny.PAR], ids=["lpd", "par"])
def test_matrices_of_a_layer_are_those_of_the_parameters(model):
    blocks = jax.tree_util.tree_leaves_with_path(abstract_params(model)["blocks"])
    kernels = sum(leaf.size for path, leaf in blocks if path[-1].key == "kernel")
    assert flops_and_bytes.block_weights(model) * model.num_layers == kernels


def test_published_numbers_of_lpd_l():
    work = flops_and_bytes.count_work(Case("lpd_l", guidance_scale=4.8), NAMED, TWENTY)
    assert work.exact_rows == 493 <= work.padded_rows
    assert flops_and_bytes.count_rows(LPD_L, TWENTY, 1) == (493, 800, 1)
    assert flops_and_bytes.count_rows(LPD_L, TWENTY, 20)[:2] == (493, 493)
    # 0.66 TFLOP with all 512 rows, here without those that nobody needs.
    assert 0.60e12 < work.flops < 0.66e12
    tables = (1000 + 1 + 16384 + 1 + 257) * 1024
    assert work.weight_bytes == 20 * 4 * (count_params(LPD_L) - tables)


def test_guidance_and_batch_multiply_arithmetic_and_not_reading():
    one, pair, four = (
        flops_and_bytes.count_work(
            Case("lpd_l", batch_size=size, guidance_scale=scale), NAMED, TWENTY
        )
        for size, scale in ((1, 1.0), (1, 3.0), (4, 1.0))
    )
    assert (pair.flops, four.flops) == (2 * one.flops, 4 * one.flops)
    assert one.weight_bytes == pair.weight_bytes == four.weight_bytes


def test_bfloat16_halves_matrices_alone():
    wide, narrow = (flops_and_bytes.weight_bytes(LPD_L, dtype) for dtype in ("float32", "bfloat16"))
    assert 0.5 < narrow / wide < 0.502


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_the_tokenizer_costs_what_xla_counts(part):
    config = dataclasses.replace(
        tiny.VQ, base_channels=64, channel_multipliers=(1, 2), patch_size=2
    )
    params = abstract_params(config)
    if part == "encoder":
        pictures = jax.ShapeDtypeStruct((1, 128, 128, 3), np.uint8)
        lowered = encode_images.lower(config, params, pictures)
    else:
        tokens = jax.ShapeDtypeStruct((1, 1024), np.int32)
        lowered = decode_images.lower(config, params, tokens, (32, 32))
    counted = lowered.cost_analysis()["flops"]
    got = flops_and_bytes.tokenizer_flops(config, part, (32, 32))
    # XLA adds norms and activations, and leaves out products with the edge's zeros.
    assert got == pytest.approx(counted, rel=0.08)
    assert flops_and_bytes.tokenizer_bytes(config, "encoder") + flops_and_bytes.tokenizer_bytes(
        config, "decoder"
    ) == 4 * (count_params(config) - config.codebook_size * config.codebook_dim)


def test_pictures_cost_tokens_and_their_decoding():
    tokens, images, decode = (
        flops_and_bytes.count_work(Case("x", task, dtype="bfloat16"), NAMED, TWENTY)
        for task in ("tokens", "images", "decode")
    )
    assert images.flops == tokens.flops + decode.flops
    assert images.weight_bytes == tokens.weight_bytes + decode.weight_bytes
    ceilings = Ceilings({"float32": 1e12, "bfloat16": 4e12}, 1e9)
    seconds = [work.floors(ceilings, "bfloat16") for work in (tokens, decode, images)]
    # The tokenizer's arithmetic is float32, four times slower here.
    assert seconds[0] == (tokens.weight_bytes / 1e9, pytest.approx(tokens.flops / 4e12))
    np.testing.assert_allclose(np.add(seconds[0], seconds[1]), seconds[2])


def test_training_reads_weights_more_often_with_an_optimizer():
    gradient, train = (
        flops_and_bytes.count_work(Case("x", task, batch_size=2), NAMED, TWENTY)
        for task in ("gradient", "train")
    )
    assert gradient.flops == train.flops
    assert 3 * train.weight_bytes == 10 * gradient.weight_bytes
