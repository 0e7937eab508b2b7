"""Many pictures are drawn batch by batch: memory holds two batches, whatever is asked for."""

import itertools

import jax
import numpy as np
import pytest

import lpd_jax
from tests import tiny

MANY = 300  # in batches of 64, the last one with 44 of them
BATCH = 64


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return lpd_jax.Pipeline.from_pretrained(
        tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    )


def live_batches() -> int:
    """Batches of pictures in memory, drawn already or not; views of one share a buffer."""
    pictures = [array for array in jax.live_arrays() if array.shape == (BATCH, 8, 8, 3)]
    return len({array.unsafe_buffer_pointer() for array in pictures})


def ask(pipe, count):
    # The order that takes no time to make.
    return pipe.request(np.arange(count) % 3, num_steps=2, order="raster", seed=3)


def test_no_more_than_two_batches_are_there_at_once(pipe):
    request, counts = ask(pipe, MANY), []
    stream = pipe.batches(request)
    assert live_batches() == 0  # nothing is drawn before it is asked for
    for images_BHWC, tokens_BN in stream:
        assert live_batches() <= 2
        assert (images_BHWC.dtype, tokens_BN.dtype) == (np.uint8, np.int32)
        counts.append((len(images_BHWC), len(tokens_BN)))
    del images_BHWC, tokens_BN
    assert counts == [(BATCH, BATCH)] * 4 + [(MANY - 4 * BATCH,) * 2]
    assert live_batches() == 0


def test_what_is_given_may_be_written_to(pipe):
    request = ask(pipe, BATCH + 1)
    frames = pipe.stream([0], num_steps=2, order="raster", output_size=12)
    for pictures in (*(part.images for part in pipe.batches(request)), *frames):
        pictures[..., 0] = 0
    assert pipe.generate_tokens([0], order="raster").flags.writeable


def test_who_stops_early_pays_for_one_batch_more(pipe):
    request = ask(pipe, 50_000)
    stream = pipe.batches(request)
    for _ in itertools.islice(stream, 3):
        assert 1 <= live_batches() <= 2
    stream.close()
    del _
    assert live_batches() == 0


def test_a_draw_is_its_stream_in_one_piece(pipe):
    request = ask(pipe, MANY)
    drawn = pipe.draw(request)
    parts = list(pipe.batches(request))
    np.testing.assert_array_equal(drawn.images, np.concatenate([part.images for part in parts]))
    np.testing.assert_array_equal(drawn.tokens, np.concatenate([part.tokens for part in parts]))
    assert drawn.images.shape == (MANY, 8, 8, 3) and drawn.tokens.shape == (MANY, 16)
    assert len(np.unique(drawn.tokens, axis=0)) == MANY
