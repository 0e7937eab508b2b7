"""Pictures become tokens once."""

import dataclasses

import numpy as np
import pytest

from lpd_jax.models.generate import encode_images
from lpd_jax.training import token_cache
from lpd_jax.training.token_cache import cached_tokens
from lpd_jax.training.weights import Weights
from tests import tiny

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
PICTURES = np.random.default_rng(0).integers(256, size=(7, 8, 8, 3)).astype(np.uint8)
ARRAYS = {"images": PICTURES, "labels": np.arange(7, dtype=np.int32)}


def test_tokens_are_the_tokenizers_whatever_fills_the_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "ENCODE_BATCH", 3)  # 3, 3 and 1 pictures
    arrays = cached_tokens(TOKENIZER, ARRAYS, "train", tiny.LPD, tmp_path)
    np.testing.assert_array_equal(arrays["tokens"], encode_images(*TOKENIZER, PICTURES))
    np.testing.assert_array_equal(arrays["labels"], ARRAYS["labels"])
    assert len(np.unique(arrays["tokens"])) > 5


def test_they_are_encoded_again_only_for_other_pictures_or_weights(tmp_path, monkeypatch):
    first = cached_tokens(TOKENIZER, ARRAYS, "train", tiny.LPD, tmp_path)
    encoded = []
    monkeypatch.setattr(token_cache, "encode_all", lambda *_: encoded.append(1) or first["tokens"])
    again = cached_tokens(TOKENIZER, ARRAYS, "train", tiny.LPD, tmp_path)
    np.testing.assert_array_equal(again["tokens"], first["tokens"])
    assert not encoded
    other = PICTURES.copy()
    other[3, 4, 4, 0] ^= 1
    cached_tokens(TOKENIZER, ARRAYS | {"images": other}, "train", tiny.LPD, tmp_path)
    params = TOKENIZER.params | {"codebook": TOKENIZER.params["codebook"] + 1e-3}
    cached_tokens(TOKENIZER._replace(params=params), ARRAYS, "train", tiny.LPD, tmp_path)
    assert len(encoded) == 2
    assert len(list(tmp_path.glob("tokens_train_*.npy"))) == 3


@pytest.mark.parametrize(
    "model",
    [
        dataclasses.replace(tiny.LPD, grid_size=(8, 8)),
        dataclasses.replace(tiny.LPD, codebook_size=64),
    ],
)
def test_a_tokenizer_of_another_grid_or_codebook_is_refused(tmp_path, model):
    with pytest.raises(ValueError) as error:
        cached_tokens(TOKENIZER, ARRAYS, "train", model, tmp_path / "run")
    assert str(error.value) == (
        f"model.grid_size, model.codebook_size: got {model.grid_size}, {model.codebook_size}, "
        "allowed is what the tokenizer makes: (4, 4), 32"
    )
    assert not list(tmp_path.iterdir())
