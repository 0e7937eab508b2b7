"""Clips become tokens once: the window in the middle, and its mirror."""

import dataclasses

import numpy as np
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import open_images
from lpd_jax.data.token_cache import INDEX_FILE, check_cache, open_token_cache
from lpd_jax.data.token_plan import plan_cache, write_token_cache
from lpd_jax.models.pixels import encode_images
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest
from tests import tiny
from tests.clip_writer import write_clip

TOKENIZER = Weights(tiny.VIDEO, tiny.random_params(tiny.VIDEO))
PAR = dataclasses.replace(tiny.PAR, grid_size=(2, 4, 4), num_classes=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for name, count in {"jump/a": 40, "jump/b": 60, "jump/short": 5, "wave/c": 50}.items():
        write_clip(root / "train" / f"{name}.mp4", count)
    return DataConfig(
        dataset="clips",
        path=str(root),
        image_size=16,
        num_frames=5,
        frame_rate=5.0,
        bad_images="skip",
        num_threads=2,
    )


def test_a_cache_of_clips_has_their_tokens_and_goes_on_after_a_kill(data, tmp_path):
    job = plan_cache(TOKENIZER, data, "train", "mirror", images_per_shard=2)
    assert (job.settings.grid_size, job.settings.num_images) == ((2, 4, 4), 4)
    check_cache(job.settings, PAR, weights_digest(*reversed(TOKENIZER)))
    write_token_cache(tmp_path, job, batch_size=2)
    cache = open_token_cache(tmp_path)
    source = open_images(data, "train")
    kept = [i for i in range(4) if "short" not in source.pictures.name(i)]
    assert (len(cache), cache.num_views) == (3, 2) and len(job.sources[0].bad_images) == 1
    clips = np.stack([source.read(i)[0] for i in kept])
    both = np.concatenate([clips, clips[:, :, :, ::-1]])
    tokens_BN = np.asarray(encode_images(*TOKENIZER, both))
    for i, index in enumerate(kept):
        for view in (0, 1):
            record = cache.view(i, view)
            np.testing.assert_array_equal(record["tokens"], tokens_BN[i + 3 * view])
            assert record["label"] == source.read(index)[1]
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / INDEX_FILE).unlink()
    next(tmp_path.glob("tokens-00001-*.array_record")).unlink()
    write_token_cache(tmp_path, job, batch_size=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_what_does_not_fit_the_clips_is_named(data):
    for fields, message in (
        ({"num_frames": 6}, "^data.image_size: got 6x16x16 pixels, allowed are frames x height"),
        ({"image_size": 18}, "^data.image_size: got 5x18x18 pixels, allowed are frames x height"),
        ({"frame_rate": 0.0}, "^frame_rate: got 0"),
        ({"lists": "nowhere"}, "^lists: got '?nowhere'?, whose classInd.txt cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_cache(TOKENIZER, dataclasses.replace(data, **fields), "train")
    pictures = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
    with pytest.raises(ValueError, match="^data.image_size: got 5x16x16 pixels, allowed are a"):
        plan_cache(pictures, data, "train")
    with pytest.raises(ValueError, match="^data.lists: got 'x', allowed is none with dataset"):
        DataConfig(dataset="folder", path="y", image_size=8, lists="x")
