"""FSQ against the released code's numbers, and all quantizers against what defines them."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.quantizers import FSQ, LFQ, CosineCodebook
from lpd_jax.models.vq_tokenizer import VQConfig, VQTokenizer
from tests import tiny

# Made by running FSQ's released code; it changes only with that code.
GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "fsq_dev.npz"))
CASES = ("l888555", "l8555", "l75555")
FSQ_SMALL = dataclasses.replace(
    tiny.VQ, quantizer="fsq", fsq_levels=(4, 2, 2), codebook_size=16, codebook_dim=3
)
LFQ_SMALL = dataclasses.replace(tiny.VQ, quantizer="lfq", codebook_size=16, codebook_dim=4)


@pytest.fixture(params=CASES)
def case(request):
    return {
        name.removeprefix(f"{request.param}/"): value
        for name, value in GOLDEN.items()
        if name.startswith(f"{request.param}/")
    }


def test_fsq_is_the_released_one(case):
    fsq = FSQ(tuple(case["levels"].tolist()))
    halves = case["levels"] // 2
    bounded = fsq.bound(case["z"])
    np.testing.assert_allclose(np.asarray(bounded) * halves, case["bounded"], atol=2e-6)
    tokens = fsq.index(bounded)
    np.testing.assert_array_equal(tokens, case["indices"])
    np.testing.assert_allclose(fsq.lookup(tokens), case["codes"], atol=1e-6)
    codes = fsq.lookup(case["random_indices"].astype(np.int32))
    np.testing.assert_allclose(codes, case["random_codes"], atol=1e-6)
    if "codebook" in case:
        all_codes = fsq.lookup(jnp.arange(case["codebook_size"]))
        np.testing.assert_allclose(all_codes, case["codebook"], atol=1e-6)


def test_gradients_pass_straight_through_fsq_as_released(case):
    fsq = FSQ(tuple(case["levels"].tolist()))

    def weighted_codes(z):
        bounded = fsq.bound(z)
        codes = bounded + jax.lax.stop_gradient(fsq.lookup(fsq.index(bounded)) - bounded)
        return (codes * case["grad_weight"]).sum()

    np.testing.assert_allclose(jax.grad(weighted_codes)(case["z"]), case["grad_z"], atol=2e-6)


def test_the_code_of_a_latent_is_the_nearest():
    latents = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    codebook = jnp.asarray(np.random.default_rng(1).normal(size=(32, 4)), jnp.float32)
    for quantizer, size in ((CosineCodebook(codebook), 32), (FSQ((5, 3, 3, 5)), 225), (LFQ(4), 16)):
        bounded = quantizer.bound(latents)
        codes_VE = np.asarray(quantizer.lookup(jnp.arange(size)))
        # FSQ's first and last numbers have finer levels: each is rounded for itself.
        steps = np.array([2, 1, 1, 2]) if isinstance(quantizer, FSQ) else np.ones(4)
        distance = np.square((np.asarray(bounded)[:, None] - codes_VE) * steps).sum(-1)
        np.testing.assert_array_equal(quantizer.index(bounded), distance.argmin(-1))


@pytest.mark.parametrize("quantizer", [FSQ((8, 5, 3)), LFQ(7)])
def test_every_token_is_that_of_its_code(quantizer):
    tokens = jnp.arange(120)
    np.testing.assert_array_equal(quantizer.index(quantizer.lookup(tokens)), tokens)


@pytest.mark.parametrize("config", [FSQ_SMALL, LFQ_SMALL], ids=["fsq", "lfq"])
def test_a_tokenizer_takes_any_quantizer(config):
    params = tiny.random_params(config)
    assert "codebook" not in params
    tokenizer = VQTokenizer(config).bind({"params": params})
    images_BHWC = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    rebuilt_BHWC, _, quantized_BHWE, tokens_Bhw = tokenizer(images_BHWC)
    np.testing.assert_array_equal(tokenizer.encode(images_BHWC), tokens_Bhw)
    np.testing.assert_allclose(tokenizer.decode(tokens_Bhw), rebuilt_BHWC, atol=1e-5)
    assert tokens_Bhw.shape == (2, 4, 4) and len(np.unique(tokens_Bhw)) > 1
    assert quantized_BHWE.shape == (2, 4, 4, config.codebook_dim)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantizer": "fsg"}, "quantizer: got 'fsg', allowed are vq, fsq, lfq"),
        ({"quantizer": "fsq"}, r"fsq_levels: got \(\) with quantizer 'fsq', allowed are levels"),
        ({"fsq_levels": (8, 8)}, r"fsq_levels: got \(8, 8\) with quantizer 'vq'"),
        (
            {"quantizer": "fsq", "fsq_levels": (8, 1)},
            r"fsq_levels: got \(8, 1\), allowed are at least 2",
        ),
        (
            {"quantizer": "fsq", "fsq_levels": (8, 8)},
            "codebook_size, codebook_dim: got 16384, 8, allowed with quantizer 'fsq' .* is 64, 2",
        ),
        ({"quantizer": "lfq"}, "codebook_size, codebook_dim: got 16384, 8, .* is 256, 8"),
        ({"quantizer": "lfq", "codebook_dim": 30}, "codebook_size: got 1073741824, allowed are at"),
        ({"upsampling": "bilinear"}, "upsampling: got 'bilinear', allowed are nearest, subpixel"),
        ({"attention": "all"}, "attention: got 'all', allowed are lowest, middle, none"),
        ({"decoder_blocks": -1}, "decoder_blocks: got -1, allowed are whole numbers from 0 to 8"),
        ({"decoder_channels": 48}, "decoder_channels x channel_multipliers: got 48 x 1, allowed"),
    ],
)
def test_sizes_that_do_not_belong_together_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        VQConfig(**fields)
