"""The VQ tokenizer against the official code, and its parts against plain ones."""

import dataclasses
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.images import to_uint8
from lpd_jax.models import vq_blocks
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.quantizers import unit_length
from lpd_jax.models.vq_blocks import GroupNorm, fold_pixels, subpixel, unfold_pixels
from lpd_jax.models.vq_tokenizer import VQ_MODELS, VQConfig, VQTokenizer
from lpd_jax.weights.from_torch.conversion import from_torch
from tests import tiny

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def channels_last(x_BCHW):
    return np.asarray(x_BCHW, np.float32).transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def golden():
    # Made by running the official code on a small random model. It changes only with that code.
    return dict(np.load(GOLDEN / "vq_tiny.npz"))


@pytest.fixture(scope="module")
def tokenizer(golden):
    config, params = from_torch({k[3:]: x for k, x in golden.items() if k.startswith("sd/")})
    return VQTokenizer(config).bind({"params": jax.device_put(params)})


def test_encoder_and_quantizer_are_the_official_ones(golden, tokenizer):
    @jax.jit
    def encode(images_BHWC):
        encoded_BHWZ = tokenizer.encoder(images_BHWC)
        latents_BHWE = tokenizer.quant_conv(encoded_BHWZ)
        return encoded_BHWZ, latents_BHWE, tokenizer.quantize(latents_BHWE)

    encoded_BHWZ, latents_BHWE, tokens_BHW = encode(channels_last(golden["image"]))
    np.testing.assert_allclose(encoded_BHWZ, channels_last(golden["encoder_out"]), atol=1e-4)
    np.testing.assert_allclose(latents_BHWE, channels_last(golden["prequant"]), atol=1e-4)
    np.testing.assert_array_equal(tokens_BHW, golden["indices"])
    np.testing.assert_allclose(
        tokenizer.lookup(tokens_BHW), channels_last(golden["quantized"]), atol=1e-5
    )


def test_scores_of_many_places_never_stand_in_memory_at_once(monkeypatch):
    """Pictures of 512x512 pixels have 16,384 places where a token is 4 wide: scores of 1 GB."""
    many = jax.ShapeDtypeStruct((1, 2**14, 8), jnp.float32)
    for attend, whole in ((vq_blocks.attend, True), (vq_blocks.attend_in_parts, False)):
        assert ("16384x16384" in jax.jit(attend).lower(many, many, many).as_text()) == whole
    q_BTC, k_BUC, v_BUC = np.random.default_rng(0).normal(size=(3, 2, 13, 4)).astype(np.float32)
    wanted_BTC = vq_blocks.attend(q_BTC, k_BUC, v_BUC)
    monkeypatch.setattr(vq_blocks, "MOST_PLACES", 6)
    got_BTC = vq_blocks.attend_in_parts(q_BTC, k_BUC, v_BUC)
    np.testing.assert_allclose(got_BTC, wanted_BTC, atol=1e-6)


def test_decoder_is_the_official_one(golden, tokenizer):
    random_BHW = golden["random_codes"].reshape(-1, 4, 4)
    tokens_BHW = np.concatenate([golden["indices"], random_BHW]).astype(np.int32)
    images_BHWC = jax.jit(tokenizer.decode)(tokens_BHW)
    want_BCHW = np.concatenate([golden["decoded"], golden["decoded_random_codes"]])
    np.testing.assert_allclose(images_BHWC, channels_last(want_BCHW), atol=1e-4)
    pixels_BHWC = np.asarray(to_uint8(images_BHWC[:1])).astype(int)
    # Truncation may fall either side of a whole number.
    assert np.abs(pixels_BHWC - golden["decoded_uint8"]).max() <= 1
    assert (pixels_BHWC == golden["decoded_uint8"]).mean() > 0.999


def test_quantizer_takes_the_nearest_code(tokenizer):
    latents_BHWE = np.random.default_rng(0).standard_normal((2, 3, 4, 8)).astype(np.float32)
    tokens_BHW = tokenizer.quantize(jnp.asarray(latents_BHWE))
    codes_VE = np.asarray(unit_length(tokenizer.codebook))
    unit_BHWE = latents_BHWE / np.linalg.norm(latents_BHWE, axis=-1, keepdims=True)
    distances_BHWV = np.square(unit_BHWE[..., None, :] - codes_VE).sum(-1)
    np.testing.assert_array_equal(tokens_BHW, distances_BHWV.argmin(-1))


def test_gradients_pass_straight_through_the_quantizer():
    config = VQConfig(32, channel_multipliers=(1,), num_res_blocks=1, z_channels=4, codebook_size=8)
    tokenizer = VQTokenizer(config)
    images_BHWC = np.random.default_rng(0).standard_normal((1, 4, 4, 3)).astype(np.float32)

    @jax.jit
    def run(params):
        def loss(params):
            rebuilt_BHWC, _, _, tokens_BHW = tokenizer.apply({"params": params}, images_BHWC)
            return jnp.square(rebuilt_BHWC).sum(), (rebuilt_BHWC, tokens_BHW)

        gradients, (rebuilt_BHWC, tokens_BHW) = jax.grad(loss, has_aux=True)(params)
        decoded_BHWC = tokenizer.apply({"params": params}, tokens_BHW, method="decode")
        return gradients, rebuilt_BHWC, decoded_BHWC

    gradients, rebuilt_BHWC, decoded_BHWC = run(tiny.random_params(config))
    np.testing.assert_allclose(rebuilt_BHWC, decoded_BHWC, atol=3e-5)
    # The pixels move the encoder as if there were no quantizer, and the codebook not at all.
    assert np.abs(gradients["encoder"]["conv_in"]["kernel"]).max() > 1e-4
    assert np.abs(gradients["codebook"]).max() == 0


@pytest.mark.parametrize("shape", [(2, 6, 5, 64), (2, 7, 96)])
def test_group_norm_is_that_of_flax(shape):
    random = np.random.default_rng(0)
    x = random.standard_normal(shape).astype(np.float32) * 3 + 1
    params = {
        name: random.standard_normal(shape[-1]).astype(np.float32) for name in ("scale", "bias")
    }
    want = nn.GroupNorm(num_groups=32, epsilon=1e-6).apply({"params": params}, x)
    np.testing.assert_allclose(GroupNorm().apply({"params": params}, x), want, atol=2e-5)


def test_unit_length_of_nothing_has_a_gradient():
    rows = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(unit_length(rows), [[0.6, 0.8], [0, 0]], atol=1e-6)
    assert np.isfinite(jax.grad(lambda rows: unit_length(rows).sum())(rows)).all()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_folded_pixels_unfold(size):
    images_BHWC = np.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    folded_BHWC = fold_pixels(images_BHWC, size)
    assert folded_BHWC.shape == (2, 8 // size, 12 // size, 3 * size**2)
    # One cell is one square of pixels, row by row.
    square = images_BHWC[1, size : 2 * size, :size].ravel()
    np.testing.assert_array_equal(folded_BHWC[1, 1, 0], square)
    np.testing.assert_array_equal(unfold_pixels(folded_BHWC, size), images_BHWC)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_images_of_any_whole_grid(patch_size):
    config = VQConfig(32, channel_multipliers=(1, 1), num_res_blocks=1, patch_size=patch_size)
    factor = 2 * patch_size
    assert config.downsample_factor == factor
    tokenizer, images_BHWC = VQTokenizer(config), jnp.zeros((2, 3 * factor, 5 * factor, 3))
    (rebuilt, latents, quantized, tokens), variables = jax.eval_shape(
        tokenizer.init_with_output, jax.random.key(0), images_BHWC
    )
    assert rebuilt.shape == images_BHWC.shape and tokens.shape == (2, 3, 5)
    assert latents.shape == quantized.shape == (2, 3, 5, 8) and tokens.dtype == jnp.int32
    kernel = variables["params"]["decoder"]["conv_out"]["kernel"]
    assert kernel.shape == (3, 3, 32, 3 * patch_size**2)
    with pytest.raises(ValueError, match=f"images: got {factor}x{factor + 1}, allowed are multip"):
        tokenizer.init(jax.random.key(0), jnp.zeros((1, factor, factor + 1, 3)))


def test_published_sizes():
    assert {name: c.downsample_factor for name, c in VQ_MODELS.items()} == {"vq16": 16, "vq8": 8}


def test_options_for_small_tokenizers_change_shapes_as_they_say():
    config = dataclasses.replace(
        tiny.VQ,
        channel_multipliers=(1, 2),
        decoder_channels=64,
        decoder_blocks=1,
        pixel_channels=8,
        upsampling="subpixel",
        attention="middle",
    )
    decoder = abstract_params(config)["decoder"]
    blocks = {name for name in decoder if name.startswith("conv_blocks")}
    assert blocks == {"conv_blocks_0_res_0", "conv_blocks_0_upsample", "conv_blocks_1_res_0"}
    # Four pixels of the next resolution for one of this.
    assert decoder["conv_blocks_0_upsample"]["kernel"].shape == (3, 3, 128, 4 * 64)
    assert decoder["conv_out"]["kernel"].shape == (3, 3, 64, 4 * 8)
    assert decoder["conv_pixels"]["kernel"].shape == (3, 3, 8, 3)
    assert "mid_1" in decoder
    without = abstract_params(dataclasses.replace(config, attention="none"))
    assert "mid_1" not in without["decoder"] and "mid_1" not in without["encoder"]


def test_pixels_that_are_written_together_start_alike():
    x_BHWC = np.random.default_rng(0).standard_normal((1, 3, 4, 32)).astype(np.float32)

    class Written(nn.Module):
        @nn.compact
        def __call__(self, x_BHWC):
            return subpixel(x_BHWC, 5, 2, "conv")

    written_BHWC, _ = Written().init_with_output(jax.random.key(0), x_BHWC)
    assert written_BHWC.shape == (1, 6, 8, 5)
    squares = np.asarray(written_BHWC).reshape(1, 3, 2, 4, 2, 5)
    np.testing.assert_allclose(squares - squares[:, :, :1, :, :1], 0, atol=1e-6)
    assert np.abs(np.diff(squares[0, :, 0, 0, 0], axis=0)).max() > 0.1


def test_bfloat16_computes_about_the_same_and_gives_float32():
    images_BHWC = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    params = tiny.random_params(tiny.VQ)
    tokens_Bhw = jnp.arange(32).reshape(2, 4, 4)
    for method, inputs in (("to_latents", images_BHWC), ("decode", tokens_Bhw)):
        exact, rounded = (
            VQTokenizer(tiny.VQ, dtype).apply({"params": params}, inputs, method=method)
            for dtype in (jnp.float32, jnp.bfloat16)
        )
        assert rounded.dtype == jnp.float32
        error = np.abs(rounded - exact).mean() / np.abs(exact).mean()
        assert 1e-4 < error < 0.1
