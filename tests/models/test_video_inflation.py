"""A tokenizer of clips that starts from one of pictures gives what that gives, frame by frame."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.parameters import abstract_params, count_params
from lpd_jax.models.video_inflation import inflate
from lpd_jax.models.video_pictures import VideoPictureConfig
from lpd_jax.models.video_tokenizer import VideoConfig
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.start import first_params
from lpd_jax.weights.loading import initial_params
from tests import tiny

SMALL = {
    "base_channels": 8,
    "channel_multipliers": (1, 2, 1),
    "num_res_blocks": 1,
    "middle_blocks": 0,
    "fsq_levels": (8, 5),
    "norm_groups": 4,
    "pixel_mean": 0.5,
}
FOLDED = {"patch_size": 2, "res_blocks": (0, 1), "channel_multipliers": (1, 2)}
MODELS = {
    "half the frames at each step": (SMALL, (2, 2)),
    "folded, narrow": (SMALL | FOLDED | {"narrow_unfolding": True}, (2,)),
    "all frames": (SMALL | FOLDED, (1,)),
}
PICTURES = VideoPictureConfig(**SMALL)
CLIPS = VideoConfig(**SMALL, time_strides=(2, 2))


def images(*shape):
    return np.random.default_rng(0).integers(256, size=(*shape, 3)).astype(np.uint8)


def tokens_and_pixels(config, params, images_BHWC):
    family = tokenizer_of(config)

    def run(params, images_BHWC):
        tokens = family.encode(params, images_BHWC)
        return tokens, family.decode(params, tokens), family.reconstruct(params, images_BHWC)

    return jax.jit(run, compiler_options=tiny.QUICK_TO_COMPILE)(params, images_BHWC)


@pytest.mark.parametrize("name", MODELS)
def test_a_frame_alone_and_a_clip_that_stands_still_are_the_picture(name):
    fields, strides = MODELS[name]
    pictures, clips = VideoPictureConfig(**fields), VideoConfig(**fields, time_strides=strides)
    params, images_BHWC = tiny.random_params(pictures), images(2, 8, 12)
    tokens, pixels, rebuilt = tokens_and_pixels(pictures, params, images_BHWC)
    inflated = inflate(params, clips)
    for frames in (1, 5):
        still_BTHWC = np.repeat(images_BHWC[:, None], frames, axis=1)
        of_clip = tokens_and_pixels(clips, inflated, still_BTHWC)
        assert of_clip[0].shape[0] == 2 and of_clip[1].shape == still_BTHWC.shape
        for t in range(of_clip[0].shape[1]):
            np.testing.assert_array_equal(of_clip[0][:, t], tokens)
        for t in range(frames):
            np.testing.assert_allclose(of_clip[1][:, t], pixels, atol=1e-5)
            # Cut off, not rounded: a hair may make one of 255 of it.
            apart = np.abs(of_clip[2][:, t].astype(int) - rebuilt.astype(int))
            assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
    assert len(np.unique(tokens)) > 5 and np.std(pixels) > 0.1


def test_kernels_of_pictures_are_the_last_time_taps():
    """The others are 0: what came before does not show until that is learned."""
    params = inflate(tiny.random_params(PICTURES), CLIPS)
    chex.assert_trees_all_equal_shapes(params, abstract_params(CLIPS))
    kernel = params["encoder"]["layers_0"]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 3, 3, 8)
    assert not kernel[:2].any() and kernel[2].all()
    assert count_params(PICTURES) < count_params(CLIPS) / 2


def directory(path, config):
    size = (4, 4) if isinstance(config, VideoPictureConfig) else (5, 4, 4)
    return str(tiny.write_model_directory(path, None, config, size))


def test_a_run_starts_from_a_directory_of_pictures(tmp_path):
    path = directory(tmp_path / "pictures", PICTURES)
    source = tiny.random_params(PICTURES, seed=1)  # as the directory has it
    config = TrainConfig(num_steps=1, batch_size=1, init_from=path)
    params = first_params(CLIPS, config, print)
    chex.assert_trees_all_equal(params, inflate(source, CLIPS))
    chex.assert_trees_all_equal(first_params(PICTURES, config, print), source)


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    path = directory(tmp_path / "pictures", PICTURES)
    wider = dataclasses.replace(CLIPS, base_channels=16, norm_groups=8)
    message = r"a model of other sizes; differing: base_channels \(there 8, here 16\); norm_groups"
    with pytest.raises(UserError, match=message):
        initial_params(path, wider)
    of_clips = directory(tmp_path / "clips", CLIPS)
    with pytest.raises(UserError, match="holds family 'video', allowed is 'video_pictures'$"):
        initial_params(of_clips, PICTURES)
    with pytest.raises(
        UserError, match=r"differing: time_strides \(there \(2, 2\), here \(1, 2\)\)$"
    ):
        initial_params(of_clips, dataclasses.replace(CLIPS, time_strides=(1, 2)))
    others = str(tiny.write_model_directory(tmp_path / "vq", None, tiny.VQ))
    with pytest.raises(
        UserError, match="holds family 'vq', allowed is 'video' and 'video_pictures'$"
    ):
        initial_params(others, CLIPS)
    with pytest.raises(UserError, match=r"^time_strides: got \(2, 2\), allowed for a tokenizer of"):
        dataclasses.replace(PICTURES, time_strides=(2, 2))
    with pytest.raises(UserError, match="^images: got 5x8x8 pixels, allowed are a height and a"):
        tokenizer_of(PICTURES).grid_of((5, 8, 8))
