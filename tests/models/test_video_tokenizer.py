"""The video tokenizer against the released code's numbers, layer by layer, and in chunks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.parameters import count_params
from lpd_jax.models.quantizers import FSQ
from lpd_jax.models.space_and_depth import depth_to_space, space_to_depth
from lpd_jax.models.video_blocks import CausalConv, ResidualUnit
from lpd_jax.models.video_tokenizer import VIDEO_MODELS, VideoConfig, VideoTokenizer
from lpd_jax.models.vq_loss import TokenizerLossConfig
from lpd_jax.performance.traced_flops import traced_flops
from tests import tiny
from tests.video_golden import GOLDEN, channels_last, converted

CLIP, IMAGE = "clip", "image"
TAGS = (CLIP, IMAGE)
SMALL = tiny.VIDEO
# With all that is for small tokenizers; tokens of 4x4 pixels, too.
FOLDED = VideoConfig(
    base_channels=32,
    channel_multipliers=(1, 2),
    res_blocks=(0, 1),
    middle_blocks=1,
    time_strides=(2,),
    fsq_levels=(8, 4),
    patch_size=2,
    narrow_unfolding=True,
    norm_groups=4,
    pixel_mean=0.75,
    pixel_scale=0.25,
)
quick = functools.partial(jax.jit, compiler_options=tiny.QUICK_TO_COMPILE)


def run_layers(method, x_BTHWC):
    """What a method gives, and what each layer of encoder or decoder gave on the way."""
    config, params = converted()

    @quick
    def run(params, x_BTHWC):
        return VideoTokenizer(config).apply(
            {"params": params},
            x_BTHWC,
            method=method,
            capture_intermediates=lambda module, _: (module.name or "").startswith("layers_"),
            mutable=["intermediates"],
        )

    output, state = run(params, x_BTHWC)
    (part,) = state["intermediates"].values()
    return np.asarray(output), [
        np.asarray(part[f"layers_{i}"]["__call__"][0]) for i in range(len(part))
    ]


@functools.cache
def encoded(tag):
    clips_BTHWC = channels_last(GOLDEN[f"{tag}/input_uint8"]).astype(np.float32) / 255
    return run_layers("to_latents", clips_BTHWC)


@functools.cache
def decoded(tag):
    codes_BthwE = channels_last(GOLDEN[f"{tag}/codes"])
    return run_layers("to_pixels", codes_BthwE)


def check_layers(tag, part, layers):
    names = [name for name in GOLDEN if name.startswith(f"{tag}/{part}") and name[-2:].isdigit()]
    assert len(names) == len(layers) > 25
    for name, layer in zip(sorted(names), layers, strict=True):
        layer_BCTHW = np.moveaxis(layer, -1, 1)
        assert layer_BCTHW.shape == tuple(GOLDEN[f"{name}_shape"]), name
        sample = layer_BCTHW.ravel()[:: int(GOLDEN[f"{name}_stride"])]
        scale = max(1.0, float(GOLDEN[name].std()))
        np.testing.assert_allclose(sample, GOLDEN[name], atol=1e-4 * scale, err_msg=name)
        mean_T, std_T = layer_BCTHW.mean((0, 1, 3, 4)), layer_BCTHW.std((0, 1, 3, 4))
        np.testing.assert_allclose(mean_T, GOLDEN[f"{name}_frame_mean"], atol=1e-4, err_msg=name)
        np.testing.assert_allclose(std_T, GOLDEN[f"{name}_frame_std"], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("tag", TAGS)
def test_latents_and_tokens_are_the_released_ones(tag):
    config, _ = converted()
    latents_BthwE, layers = encoded(tag)
    np.testing.assert_allclose(latents_BthwE, channels_last(GOLDEN[f"{tag}/prequant"]), atol=1e-4)
    check_layers(tag, "enc", layers)
    fsq = FSQ(config.fsq_levels)
    tokens_Bthw = fsq.index(fsq.bound(latents_BthwE))
    np.testing.assert_array_equal(tokens_Bthw, GOLDEN[f"{tag}/indices"])
    codes_BthwE = fsq.lookup(tokens_Bthw)
    np.testing.assert_allclose(codes_BthwE, channels_last(GOLDEN[f"{tag}/codes"]), atol=1e-6)


@pytest.mark.parametrize("tag", TAGS)
def test_decoded_clips_are_the_released_ones(tag):
    config, _ = converted()
    pixels_BTHWC, layers = decoded(tag)
    np.testing.assert_allclose(pixels_BTHWC, channels_last(GOLDEN[f"{tag}/decoded"]), atol=1e-4)
    check_layers(tag, "dec", layers)
    bytes_BTHWC = np.asarray(tokenizer_of(config).to_bytes(pixels_BTHWC * 2.0 - 1.0)).astype(int)
    difference = np.abs(bytes_BTHWC - channels_last(GOLDEN[f"{tag}/decoded_uint8"]))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_given_tokens_decode_to_the_released_pixels():
    config, params = converted()
    clips_BTHWC = quick(tokenizer_of(config).decode)(params, GOLDEN["random/indices"])
    wanted_BTHWC = channels_last(GOLDEN["random/decoded"])
    np.testing.assert_allclose((clips_BTHWC + 1) / 2, wanted_BTHWC, atol=1e-4)


def test_clips_encode_to_the_released_tokens_in_chunks():
    config, params = converted()
    clips_BTHWC = channels_last(GOLDEN["clip/input_uint8"])
    encode = quick(functools.partial(tokenizer_of(config).encode, tokens_at_once=1))
    np.testing.assert_array_equal(encode(params, clips_BTHWC), GOLDEN["clip/indices"])


def params_of(layer):
    return converted()[1]["encoder"][layer]


def test_a_residual_unit_is_the_released_one():
    x_BTHWC = channels_last(GOLDEN["unit/input"])
    run = quick(ResidualUnit(64).apply)
    got_BTHWC = run({"params": params_of("layers_6")}, x_BTHWC)
    np.testing.assert_allclose(got_BTHWC, channels_last(GOLDEN["unit/output"]), atol=1e-4)


@pytest.mark.parametrize("name", ["layer5_T3", "layer10_T5", "layer10_T4", "layer10_T1"])
def test_strided_convolutions_are_the_released_ones(name):
    strides = (1, 2, 2) if "layer5" in name else (2, 2, 2)
    x_BTHWC = channels_last(GOLDEN[f"down/{name}_in"])
    conv = CausalConv(x_BTHWC.shape[-1], strides=strides)
    params = params_of(f"layers_{name[5:].split('_')[0]}")
    got_BTHWC = quick(conv.apply)({"params": params}, x_BTHWC)
    np.testing.assert_allclose(got_BTHWC, channels_last(GOLDEN[f"down/{name}_out"]), atol=1e-4)


def test_channels_become_frames_and_pixels_as_released():
    for name, factors in (("222", (2, 2, 2)), ("122", (1, 2, 2))):
        x_BTHWC = channels_last(GOLDEN[f"d2s/{name}_in"])
        got_BTHWC = depth_to_space(jnp.asarray(x_BTHWC), factors)[:, factors[0] - 1 :]
        np.testing.assert_array_equal(got_BTHWC, channels_last(GOLDEN[f"d2s/{name}_out"]))


def test_the_published_sizes():
    config = VIDEO_MODELS["nbp_video"]
    assert count_params(config) == 370_372_105
    family = tokenizer_of(config)
    assert family.grid_of((17, 128, 128)) == (5, 16, 16)
    assert family.size_of((5, 16, 16)) == (17, 128, 128)
    assert config.codebook_size == 64_000
    parts = {part: family.part_bytes(part) // 4 for part in ("encoder", "decoder")}
    assert parts == {"encoder": 144_886_790, "decoder": 225_485_315}


@functools.cache
def small_clip(config=SMALL):
    params = tiny.random_params(config)
    frames, side = 1 + 9 * config.frames_per_token, 2 * config.pixels_per_token
    shape = (2, frames, side, 2 * side, 3)
    clips_BTHWC = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return tokenizer_of(config), params, clips_BTHWC


@pytest.mark.parametrize("tokens_at_once", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_chunks_of_any_length_equal_the_whole(tokens_at_once):
    family, params, clips_BTHWC = small_clip()
    whole_Bthw = quick(functools.partial(family.encode, tokens_at_once=99))(params, clips_BTHWC)
    assert whole_Bthw.shape == (2, 10, 2, 4)
    encode = quick(functools.partial(family.encode, tokens_at_once=tokens_at_once))
    np.testing.assert_array_equal(encode(params, clips_BTHWC), whole_Bthw)
    whole_BTHWC = quick(functools.partial(family.decode, tokens_at_once=99))(params, whole_Bthw)
    decode = quick(functools.partial(family.decode, tokens_at_once=tokens_at_once))
    np.testing.assert_allclose(decode(params, whole_Bthw), whole_BTHWC, atol=1e-4)
    assert whole_BTHWC.shape == clips_BTHWC.shape


def test_folded_squares_in_chunks_equal_the_whole():
    family, params, clips_BTHWC = small_clip(FOLDED)
    whole_Bthw = quick(functools.partial(family.encode, tokens_at_once=99))(params, clips_BTHWC)
    assert whole_Bthw.shape == (2, 10, 2, 4)
    encode = quick(functools.partial(family.encode, tokens_at_once=2))
    np.testing.assert_array_equal(encode(params, clips_BTHWC), whole_Bthw)
    assert quick(family.decode)(params, whole_Bthw).shape == clips_BTHWC.shape


def test_folding_and_unfolding_undo_each_other():
    clips_BTHWC = np.random.default_rng(0).normal(size=(2, 3, 4, 6, 5)).astype(np.float32)
    folded = space_to_depth(clips_BTHWC, (1, 2, 2))
    assert folded.shape == (2, 3, 2, 3, 20)
    np.testing.assert_array_equal(depth_to_space(folded, (1, 2, 2)), clips_BTHWC)


@pytest.mark.parametrize("config", [SMALL, FOLDED], ids=["small", "folded"])
def test_flops_are_those_of_the_traced_program(config):
    family, grid = tokenizer_of(config), (3, 2, 2)
    params = tiny.random_params(config)
    for part, method, shape in (
        ("encoder", "to_latents", (*family.size_of(grid), 3)),
        ("decoder", "to_pixels", (*grid, len(config.fsq_levels))),
    ):
        run = functools.partial(VideoTokenizer(config).apply, method=method)
        traced = jax.make_jaxpr(run)({"params": params}, jnp.zeros((1, *shape)))
        assert family.part_flops(part, grid) == traced_flops(traced.jaxpr)


def test_the_last_convolution_writes_pixels():
    for config in (SMALL, FOLDED):
        *path, name = tokenizer_of(config).loss_parts(TokenizerLossConfig()).last_layer
        leaf = tiny.random_params(config)
        for key in (*path, name):
            leaf = leaf[key]
        assert leaf.shape[-1] == 3 * config.patch_size**2


def test_no_frame_sees_a_later_one():
    """Tokens of the first frame are those of a picture, and later frames change none before."""
    family, params, clips_BTHWC = small_clip()
    encode = quick(family.encode)
    tokens_Bthw = encode(params, clips_BTHWC)
    for frames in (1, 1 + 2 * SMALL.frames_per_token):
        part_Bthw = encode(params, clips_BTHWC[:, :frames])
        np.testing.assert_array_equal(part_Bthw, tokens_Bthw[:, : part_Bthw.shape[1]])
    assert (np.diff(np.asarray(tokens_Bthw), axis=1) != 0).any()


def test_the_loss_reaches_every_weight_through_the_rounding():
    family, params, clips_BTHWC = small_clip()
    weights = TokenizerLossConfig(l1_weight=1.0, perceptual_weight=0.5)

    def perceptual(first_BHWC, second_BHWC):
        assert first_BHWC.ndim == 4  # frame by frame
        return jnp.square(first_BHWC - second_BHWC).mean((1, 2, 3))

    loss = family.loss(weights, perceptual=perceptual)
    batch = {"images": clips_BTHWC[:, :5]}
    run = quick(jax.value_and_grad(loss, has_aux=True))
    (value, metrics), grads = run(params, batch, jax.random.key(0))
    expected = metrics["l1"] + metrics["l2"] + 0.5 * metrics["perceptual"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["code_shares"].sum(), 1, rtol=1e-5)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


@pytest.mark.parametrize(
    ("size", "got"),
    [
        ((16, 128, 128), "16x128x128"),
        ((17, 128, 127), "17x128x127"),
        ((0, 128, 128), "0x128x128"),
        ((128, 128), "128x128"),
    ],
)
def test_clips_that_are_no_whole_tokens_are_named(size, got):
    message = f"^images: got {got} pixels, allowed are frames x height x width: 1 and a multiple"
    with pytest.raises(ValueError, match=message):
        tokenizer_of(VideoConfig()).grid_of(size)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("time_strides", (1, 2), "time_strides: got .*, allowed is 1 or 2 for each of the 3"),
        ("time_strides", (1, 2, 3), "time_strides: got"),
        ("channel_multipliers", (), "channel_multipliers: got none"),
        ("base_channels", 48, "base_channels, channel_multipliers: got 48"),
        ("fsq_levels", (1, 8), "fsq_levels: got .*, allowed are at least 2"),
        ("fsq_levels", (), "fsq_levels: got"),
        ("num_res_blocks", 0, "num_res_blocks: got 0"),
        ("middle_blocks", -1, "middle_blocks: got -1"),
        ("pixel_mean", 2.0, "pixel_mean: got 2.0"),
        ("pixel_scale", 0.0, "pixel_scale: got 0.0"),
        ("norm_groups", 33, "norm_groups: got 33"),
        ("patch_size", 0, "patch_size: got 0"),
        (
            "res_blocks",
            (1, 1),
            "res_blocks: got .*, allowed are .. and one number for each of the 4",
        ),
        ("res_blocks", (1, 1, -1, 1), "res_blocks: got -1"),
    ],
)
def test_sizes_that_no_video_tokenizer_has_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(VideoConfig(), **{field: value})
