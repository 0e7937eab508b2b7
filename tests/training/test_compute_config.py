"""Precision and rematerialisation change how a step computes, not what."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.training import compute_config
from lpd_jax.training.compute_config import (
    ComputeConfig,
    check_for_tokenizer,
    loss_options,
    transformer_options,
)
from tests import tiny
from tests.training import toy

TOKENS_BN = np.random.default_rng(0).integers(tiny.LPD.codebook_size, size=(4, 16), dtype=np.int32)
BATCH = {"tokens": TOKENS_BN, "labels": np.arange(4, dtype=np.int32) % tiny.LPD.num_classes}


def loss_and_grads(model=tiny.LPD, **choices):
    options = transformer_options(ComputeConfig(**choices), model)
    loss_function = transformer_of(model).loss(train=True, **options)
    run = jax.jit(
        jax.value_and_grad(loss_function, has_aux=True), compiler_options=toy.QUICK_COMPILE
    )
    (loss, _), grads = run(tiny.random_params(model), BATCH, jax.random.key(1))
    return float(loss), flatten_dict(jax.device_get(grads), sep="/")


@pytest.fixture(scope="module")
def plain():
    return loss_and_grads()


@pytest.mark.parametrize(
    "choice",
    [
        {"remat": "minimal"},
        {"unroll_layers": True},
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in (
                {"remat": "full"},
                {"attention": "xla"},
                {"remat": "minimal", "unroll_layers": True},
            )
        ),
    ],
)
def test_what_is_computed_again_or_elsewhere_is_the_same(plain, choice):
    loss, grads = loss_and_grads(**choice)
    np.testing.assert_allclose(loss, plain[0], rtol=1e-6)
    chex.assert_trees_all_close(grads, plain[1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", [tiny.PAR, tiny.RANDAR, tiny.ARPG], ids=["par", "randar", "arpg"])
def test_all_families_know_a_program_without_a_loop(model):
    (loss, grads), (same_loss, same_grads) = (
        loss_and_grads(model, remat="minimal", unroll_layers=x) for x in (False, True)
    )
    np.testing.assert_allclose(loss, same_loss, rtol=1e-6)
    chex.assert_trees_all_close(grads, same_grads, atol=1e-6)


def test_bfloat16_is_near(plain):
    loss, grads = loss_and_grads(dtype="bfloat16")
    assert loss != plain[0]
    np.testing.assert_allclose(loss, plain[0], rtol=0.01)
    for name, grad in grads.items():
        assert grad.dtype == np.float32
        want = plain[1][name]
        if name != "blocks/qkv/bias":  # of keys it is rounding noise
            assert np.linalg.norm(grad - want) <= 0.2 * np.linalg.norm(want), name


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"dtype": "float16"}, r"^compute.dtype: got 'float16', allowed are float32, bfloat16$"),
        ({"remat": "all"}, r"^compute.remat: got 'all', allowed are none, minimal, full$"),
        ({"attention": "flash"}, r"^compute.attention: got 'flash', allowed are auto, einsum"),
        ({"products": "int8"}, r"^compute.products: got 'int8', allowed are plain, bfloat16$"),
        ({"accumulate_steps": 0}, r"^compute.accumulate_steps: got 0, allowed is at least 1$"),
    ],
)
def test_other_choices_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        ComputeConfig(**choice)


def test_a_kernel_that_cannot_run_here_is_refused():
    with pytest.raises(ValueError, match=r"^compute.attention: got 'splash' on cpu"):
        transformer_options(ComputeConfig(attention="splash"), tiny.LPD, platform="cpu")


def test_bfloat16_products_bring_an_attention_of_such_products():
    options = transformer_options(ComputeConfig(products="bfloat16"), tiny.LPD, platform="cpu")
    assert options["products"] == "bfloat16" and options["attention"] == "recompute"
    chosen = ComputeConfig(products="bfloat16", attention="xla")
    assert transformer_options(chosen, tiny.LPD, platform="cpu")["attention"] == "xla"
    assert "products" not in transformer_options(ComputeConfig(), tiny.LPD, platform="cpu")


def test_where_all_is_bfloat16_its_products_are_so_already():
    both = ComputeConfig(products="bfloat16", dtype="bfloat16")
    plain = ComputeConfig(dtype="bfloat16")
    options = [transformer_options(c, tiny.LPD, platform="cpu") for c in (both, plain)]
    assert options[0] == options[1]


def test_a_device_without_bfloat16_products_is_told(monkeypatch):
    def fails(*_):
        raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: BF16 x BF16 = F32\nmore")

    monkeypatch.setattr(compute_config, "rounded_product", fails)
    with pytest.raises(ValueError, match=r"^compute.products: got 'bfloat16', .*BF16 = F32\)$"):
        transformer_options(ComputeConfig(products="bfloat16"), tiny.LPD, platform="cpu")


def test_several_size_lists_need_a_family_that_draws_them_and_a_mask_for_each_image():
    model = dataclasses.replace(tiny.LPD, grid_size=(16, 8))
    assert loss_options(ComputeConfig(), model, 4, "tpu")["num_size_lists"] == 4
    assert loss_options(ComputeConfig(), tiny.PAR, 1)["num_size_lists"] == 1
    with pytest.raises(ValueError, match="^num_size_lists: got 4, allowed for PAR is 1: it draws"):
        loss_options(ComputeConfig(), tiny.PAR, 4)
    with pytest.raises(ValueError, match="^num_size_lists: got 4, allowed with compute.attention="):
        loss_options(ComputeConfig(attention="splash"), model, 4, "tpu")


def test_chunks_of_the_loss_divide_the_tokens_and_need_a_last_matrix(monkeypatch):
    assert "loss_chunk" not in loss_options(ComputeConfig(), tiny.PAR, 1)
    assert loss_options(ComputeConfig(loss_chunk=8), tiny.PAR, 1)["loss_chunk"] == 8
    with pytest.raises(ValueError, match="^compute.loss_chunk: got 5, allowed are 0 and divisors"):
        loss_options(ComputeConfig(loss_chunk=5), tiny.PAR, 1)
    with pytest.raises(ValueError, match="^compute.loss_chunk: got 8, allowed for a tokenizer"):
        check_for_tokenizer(ComputeConfig(loss_chunk=8), tokenizer_of(tiny.VIDEO))
    with pytest.raises(ValueError, match="^compute.unroll_layers: got True, allowed for a token"):
        check_for_tokenizer(ComputeConfig(unroll_layers=True), tokenizer_of(tiny.VQ))
    with pytest.raises(ValueError, match="^compute.loss_chunk: got -1, allowed is 0 or more"):
        ComputeConfig(loss_chunk=-1)
    monkeypatch.setattr(type(transformer_of(tiny.PAR)), "has_head", False)
    with pytest.raises(ValueError, match="^compute.loss_chunk: got 8, allowed for PAR is 0"):
        loss_options(ComputeConfig(loss_chunk=8), tiny.PAR, 1)


def test_rounded_products_are_for_tokenizers_that_know_them():
    rounded = ComputeConfig(products="bfloat16")
    check_for_tokenizer(rounded, tokenizer_of(tiny.VIDEO))
    allowed = "^compute.products: got 'bfloat16', allowed for a VQ tokenizer is plain$"
    with pytest.raises(ValueError, match=allowed):
        check_for_tokenizer(rounded, tokenizer_of(tiny.VQ))
