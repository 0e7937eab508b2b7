"""The work of a case: arithmetic and bytes that no program can do without."""

import numpy as np
import pytest

from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.models.family import find_model, transformer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.performance.benchmark_case import BenchmarkCase
from lpd_jax.performance.benchmark_model import BenchmarkModel, find_benchmark_model
from lpd_jax.performance.device_peaks import DevicePeaks
from lpd_jax.performance.flops_and_bytes import count_work, weight_bytes
from tests import tiny

LPD_L = find_model("lpd_l")
MODEL = BenchmarkModel("lpd_l", LPD_L, tiny.VQ)
TWENTY = make_schedule(256, 20)


def work_of(task="tokens", **choices):
    return count_work(BenchmarkCase("lpd_l", task, **choices), MODEL, TWENTY)


def test_published_numbers_of_lpd_l():
    work = work_of(guidance_scale=4.8)
    assert work.exact_rows == 493 <= work.padded_rows
    # 0.66 TFLOP with all 512 rows, here without those that nobody needs.
    assert 0.60e12 < work.flops < 0.66e12
    tables = (1000 + 1 + 16384 + 1 + 257) * 1024
    assert work.weight_bytes == 20 * 4 * (count_params(LPD_L) - tables)


def test_a_family_counts_for_itself():
    model = find_benchmark_model("par_l_4x", "")
    family = transformer_of(model.transformer)
    work = count_work(BenchmarkCase("par_l_4x"), model, family.schedule())
    assert work[:3] == family.count_rows(family.schedule()) == (576, 576, None)
    assert work.flops == family.decoding_flops(family.schedule())
    assert work.weight_bytes == 147 * weight_bytes(model.transformer, "float32")


def test_guidance_and_batch_multiply_arithmetic_and_not_reading():
    one, pair, four = (
        work_of(batch_size=size, guidance_scale=scale)
        for size, scale in ((1, 1.0), (1, 3.0), (4, 1.0))
    )
    assert (pair.flops, four.flops) == (2 * one.flops, 4 * one.flops)
    assert one.weight_bytes == pair.weight_bytes == four.weight_bytes


def test_bfloat16_halves_matrices_alone():
    wide, narrow = (weight_bytes(LPD_L, dtype) for dtype in ("float32", "bfloat16"))
    assert 0.5 < narrow / wide < 0.502


def test_pictures_cost_tokens_and_their_decoding():
    tokens, images, decode = (
        work_of(task, dtype="bfloat16") for task in ("tokens", "images", "decode")
    )
    assert images.flops == tokens.flops + decode.flops
    assert images.weight_bytes == tokens.weight_bytes + decode.weight_bytes
    peaks = DevicePeaks({"float32": 1e12, "bfloat16": 4e12}, 1e9)
    seconds = [work.lower_bounds(peaks, "bfloat16") for work in (tokens, decode, images)]
    # The tokenizer's arithmetic is float32, four times slower here.
    assert seconds[0] == (tokens.weight_bytes / 1e9, pytest.approx(tokens.flops / 4e12))
    np.testing.assert_allclose(np.add(seconds[0], seconds[1]), seconds[2])


def test_training_reads_weights_more_often_with_an_optimizer():
    gradient, train = (work_of(task, batch_size=2) for task in ("gradient", "train"))
    assert gradient.flops == train.flops
    assert 3 * train.weight_bytes == 10 * gradient.weight_bytes
