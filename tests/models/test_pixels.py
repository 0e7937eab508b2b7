"""The decoder in bfloat16, where the device computes pixels in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.decoding import device_choices
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.pixels import decode_images, pixels_dtype
from lpd_jax.pipeline import Pipeline
from tests import tiny


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_pixels_follow_the_transformer_but_on_cpus(monkeypatch, platform):
    monkeypatch.setattr(device_choices, "target_device", lambda: device_choices.Device(platform))
    assert pixels_dtype(jnp.float32) == jnp.float32
    wanted = jnp.float32 if platform == "cpu" else jnp.bfloat16
    assert pixels_dtype(jnp.bfloat16) == wanted


@pytest.mark.parametrize(
    ("config", "grid"),
    [(tiny.VQ, (4, 4)), (tiny.VIDEO, (5, 4, 4)), (tiny.VIDEO_PICTURES, (4, 4))],
    ids=["vq", "video", "video_pictures"],
)
def test_bfloat16_gives_nearly_the_same_pixels(config, grid):
    params = tiny.random_params(config)
    tokens = np.random.default_rng(0).integers(0, config.codebook_size, (2, *grid), np.int32)
    decode = jax.jit(tokenizer_of(config).decode, static_argnames="dtype")
    exact, rounded = (decode(params, tokens, dtype=x) for x in (jnp.float32, jnp.bfloat16))
    assert exact.dtype == rounded.dtype == jnp.float32
    error = float(jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact))
    assert 1e-5 < error < 0.1  # these weights are lively: of a real tokenizer it is 0.004


def test_pictures_are_decoded_in_what_their_tokens_were_drawn_in(monkeypatch, tmp_path):
    """Where the device likes it."""
    monkeypatch.setattr(device_choices, "CPU", device_choices.PLAIN)
    pipe = Pipeline.from_pretrained(tiny.write_model_directory(tmp_path / "tiny"))
    images_BHWC, tokens_BN = pipe.draw(pipe.request([0, 1], dtype="bfloat16"))
    tokenizer = pipe.config.tokenizer, pipe._runner.params["tokenizer"]
    decode = functools.partial(decode_images, *tokenizer, tokens_BN, pipe.grid_size)
    np.testing.assert_array_equal(images_BHWC, decode(dtype=jnp.bfloat16))
    assert (images_BHWC != np.asarray(decode())).any()
