"""Clips through the whole house: converted, encoded, decoded and drawn, by Python and the shell."""

import numpy as np
import pytest

import lpd_jax
from lpd_jax.models.family import config_to_dict
from lpd_jax.weights.from_torch.conversion import from_torch, to_torch_names
from lpd_jax.weights.from_torch.official import config_of_shapes, official_weights
from lpd_jax.weights.model_directory import load_model_directory
from tests import tiny, torch_writer
from tests.video_golden import GOLDEN, channels_last, converted, released_shapes, seeded_weights

PAR = tiny.CLIPS


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "model"
    tiny.write_clip_model(path, guidance_scale=1.5)
    return lpd_jax.Pipeline.from_pretrained(path)


def test_labels_become_clips(pipe):
    assert (pipe.grid_size, pipe.image_size) == ((2, 4, 4), (5, 16, 16))
    clips_BTHWC, tokens_BN = pipe.draw(pipe.request(["cat", "owl"]))
    assert tokens_BN.shape == (2, 32)
    assert clips_BTHWC.shape == (2, 5, 16, 16, 3) and clips_BTHWC.dtype == np.uint8
    difference = np.abs(pipe.decode(tokens_BN).astype(int) - clips_BTHWC)
    assert difference.max() <= 1
    assert pipe.decode(tokens_BN.reshape(2, 2, 4, 4)).shape == clips_BTHWC.shape


def test_clips_become_tokens_and_clips_again(pipe):
    clips_BTHWC = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3), np.uint8)
    tokens_BN = pipe.encode(clips_BTHWC)
    assert (tokens_BN.shape, tokens_BN.dtype) == ((3, 32), np.int32)
    assert pipe.decode(tokens_BN).shape == clips_BTHWC.shape
    longer_BTHWC = np.concatenate([clips_BTHWC, clips_BTHWC[:, 1:]], axis=1)
    longer_Bthw = pipe.encode(longer_BTHWC[:, :, :8])
    assert longer_Bthw.shape == (3, 3, 2, 4)
    assert pipe.decode(longer_Bthw).shape == (3, 9, 8, 16, 3)
    np.testing.assert_array_equal(pipe.encode(longer_BTHWC)[:, :2].reshape(3, -1), tokens_BN)


def test_clips_of_pillow_are_lists_of_frames(pipe):
    clips = pipe(["cat", "owl"], output_type="pil")
    assert [len(frames) for frames in clips] == [5, 5]
    assert {frame.size for frames in clips for frame in frames} == {(16, 16)}
    clips_BTHWC = pipe(["cat", "owl"])
    np.testing.assert_array_equal(np.stack([np.stack(frames) for frames in clips]), clips_BTHWC)
    np.testing.assert_array_equal(pipe.encode(clips), pipe.encode(clips_BTHWC))
    with pytest.raises(ValueError, match="^images: got clips of 4x16x16, 5x16x16 pixels, allowed"):
        pipe.encode([clips[0], clips[1][:4]])


def test_what_is_no_clip_is_named(pipe):
    clips_BTHWC = np.zeros((1, 5, 16, 16, 3), np.uint8)
    for bad, message in (
        (clips_BTHWC[:, :4], "images: got 4x16x16 pixels, allowed are frames x height x width"),
        (clips_BTHWC[:, 0], "images: got 16x16 pixels, allowed are frames x height x width"),
        (clips_BTHWC / 255, r"images: got float64 .*, allowed is uint8 \[batch, frames, height"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            pipe.encode(bad)
    for tokens, message in (
        (
            np.zeros((1, 31), int),
            r"tokens: got .* \[batch, 32\], or \[batch, frames, height",
        ),
        (np.zeros((1, 4, 4), int), "tokens: got"),
        (np.full((1, 32), 32), "tokens: got 32 to 32, allowed are 0 to 31"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            pipe.decode(tokens)


def test_a_model_of_pictures_and_a_tokenizer_of_clips_are_no_pair(tmp_path):
    for transformer, tokenizer in ((tiny.PAR, tiny.VIDEO), (PAR, tiny.VQ)):
        with pytest.raises(ValueError, match="^config: grid: got .* tokens, allowed for a"):
            tiny.write_model_directory(tmp_path / "model", transformer, tokenizer)


def test_public_weights_are_known_by_names_and_shapes():
    shapes = released_shapes()
    config = config_of_shapes(shapes)
    assert config == lpd_jax.models.find_model("nbp_video")
    assert {weight.name: weight.shape for weight in official_weights(config)} == shapes
    assert sum(map(np.prod, shapes.values())) == 370_372_105


def test_weights_come_back_under_their_official_names():
    config, params = converted()
    assert config_to_dict(config)["family"] == "video" and config.base_channels == 32
    weights, back = seeded_weights(), to_torch_names(config, params)
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("encoder_layers.6.fn.3.weight"), "missing encoder_layers.6.fn.3.weight"),
        (lambda w: w.update({"decoder_layers.9.more": w["encoder_layers.0.conv.bias"]}), "unexp"),
        (
            lambda w: w.update({"decoder_layers.4.fn.1.beta": w["encoder_layers.0.conv.bias"]}),
            r"decoder_layers.4.fn.1.beta: got shape \(32,\), allowed is \(1, 128, 1, 1, 1\)",
        ),
        (
            lambda w: [w.pop(name) for name in list(w) if ".fn." in name],
            "encoder_layers: got no residual units",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message):
    weights = seeded_weights()
    change(weights)
    with pytest.raises(ValueError, match=message):
        from_torch(weights)


@pytest.mark.slow  # a process of its own
def test_the_command_converts_the_public_checkpoint(tmp_path):
    weights = {f"module.{name}": array for name, array in seeded_weights().items()}
    torch_writer.write_zip(tmp_path / "magvit2_ucf.pt", {"model_state_dict": weights, "epoch": 3})
    script = tiny.REPOSITORY / "launch" / "convert.py"
    options = ["--input=magvit2_ucf.pt", "--output=tokenizer"]
    result = tiny.run_python(script, *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "took entry 'model_state_dict'" in result.stdout
    assert "fsq_levels: assumed 8, 8, 8, 5, 5, 5, as published" in result.stdout
    files = load_model_directory(tmp_path / "tokenizer")
    assert files.config.image_size == (17, 128, 128) and files.transformer is None
    pipe = lpd_jax.Pipeline(files)
    tokens_Bthw = pipe.encode(channels_last(GOLDEN["image/input_uint8"]))
    np.testing.assert_array_equal(tokens_Bthw, GOLDEN["image/indices"])
