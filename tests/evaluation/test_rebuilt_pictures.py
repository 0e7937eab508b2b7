"""What a tokenizer makes of pictures is judged as pictures are, and beside its originals."""

import numpy as np
import pytest

from lpd_jax.data.batches import ArraySource
from lpd_jax.data.token_cache import CacheSettings
from lpd_jax.evaluation import protocol as evaluation
from lpd_jax.evaluation.picture_sets import ArraySet
from lpd_jax.evaluation.rebuilt_pictures import RebuiltPictures, TokenPictures
from lpd_jax.evaluation.reconstruction import measure_reconstruction
from lpd_jax.evaluation.references import make_reference
from lpd_jax.models.family import tokenizer_of
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest
from tests import tiny
from tests.evaluation import judging

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))


def apart(x, y):
    return abs(x - y).mean((1, 2, 3))


def test_a_tokenizer_is_judged_in_shards_as_all_at_once(tmp_path):
    images = judging.write_pictures(tmp_path / "real.npz", count=20)
    originals, judge = ArraySet(tmp_path / "real.npz"), judging.tiny_judge()
    pictures = RebuiltPictures(TOKENIZER, "tiny", originals, apart, "mean difference")
    record = evaluation.evaluate(
        pictures, judge, make_reference(originals, judge), tmp_path / "out", shard_size=6
    )
    want = measure_reconstruction(
        TOKENIZER, ArraySource({"image": images}), network=judge.network, distance=apart
    )
    got = record["metrics"]["reconstruction"]
    for name in ("psnr", "ssim", "perceptual", "codebook_usage", "dead_codes", "perplexity"):
        assert got[name] == pytest.approx(getattr(want, name), rel=1e-5), name
    distance = record["metrics"]["features"]["frechet_distance"]
    assert distance == pytest.approx(want.rfd, rel=1e-4)
    assert record["pictures"]["perceptual"] == "mean difference"
    assert record["pictures"]["originals"]["count"] == 20
    assert len(evaluation.table([record])) == 3  # what compares pairs is no row of its own


class Cache:
    """A token cache in memory."""

    settings = CacheSettings(
        tokenizer=weights_digest(TOKENIZER.params, TOKENIZER.config),
        dataset="cats",
        num_images=5,
        num_classes=3,
        class_names=("cat", "dog", "owl"),
        image_size=8,
        grid_size=(4, 4),
        codebook_size=32,
        views="one",
        crop_ratio=1.0,
        images_per_shard=5,
    )
    tokens = np.random.default_rng(0).integers(32, size=(5, 16)).astype(np.int32)

    def __len__(self):
        return 5

    def view(self, index, view):
        return {"tokens": self.tokens[index], "label": np.int32(0)}


def test_a_token_cache_is_decoded_by_the_tokenizer_that_made_it():
    pictures = TokenPictures(Cache(), TOKENIZER, "tokens/train")
    (got,) = pictures.batches(range(1, 4))
    family = tokenizer_of(tiny.VQ)
    floats = family.decode(TOKENIZER.params, Cache.tokens[1:4].reshape(3, 4, 4))
    assert got.shape == (3, 8, 8, 3) and got.dtype == np.uint8
    np.testing.assert_allclose(got, np.clip(np.asarray(floats) * 127.5 + 127.5, 0, 255), atol=1.5)
    assert "decoded tokens of cats" in pictures.settings()["pictures"]
    other = Weights(tiny.VQ, tiny.random_params(tiny.VQ, seed=5))
    with pytest.raises(ValueError, match="^tokenizer: got one of digest .*, allowed is"):
        TokenPictures(Cache(), other, "tokens/train")
