"""A pipeline that lives long serves whatever comes: after the first of a kind, none compiles."""

import numpy as np
import pytest

import lpd_jax
from tests import compilations, tiny

COUNTS = (4, 4, 12, 4, 12)  # images of a request; some run as several times 4


@pytest.fixture(scope="module")
def pipe(tmp_path_factory, one_scan):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


def serve(pipe, number: int) -> list[np.ndarray]:
    """Requests of every kind, of other content for each number."""
    random = np.random.default_rng(number)
    labels = random.integers(3, size=COUNTS[number]).tolist()
    choices = {
        "seed": number,
        "order": ("locality", "random", "halton", "raster", random.permutation(16))[number],
        "guidance_scale": 1.5 + number,
        "temperature": 0.5 + number,
    }
    pictures = random.integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    mask_HW = np.zeros(16, bool)
    mask_HW[random.permutation(16)[: 6 + number % 2]] = True
    return [
        pipe(labels, **choices),
        pipe.generate_tokens(labels, top_p=0.5 + number / 10, **choices),
        pipe.inpaint(pictures, labels, mask=mask_HW.reshape(4, 4), **choices),
        pipe.decode(pipe.encode(pictures)),
    ]


def test_mixed_requests_compile_nothing_after_the_first(pipe):
    with compilations.counted() as compiled:
        serve(pipe, 0)
        assert compiled
        for number in range(1, len(COUNTS)):
            compiled.clear()
            outputs = serve(pipe, number)
            assert not compiled
            assert all(len(output) == COUNTS[number] for output in outputs)


def test_what_is_compiled_before_serves_edits_and_replays_too(pipe):
    labels, mask_HW = [0, 1, 2], np.zeros((4, 4), bool)
    mask_HW[1:3, 1:3] = True
    request = pipe.request(labels, num_steps=5)
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    assert pipe.compile(request) > 0
    assert pipe.compile(request, mask=mask_HW, replay=True) > 0
    assert pipe.compile(request, box=(2, 2, 4, 4)) == 0  # as many tokens are known
    with compilations.counted() as compiled:
        pipe.inpaint(pictures, labels, mask=mask_HW[::-1], num_steps=5, seed=4)
        frames = list(pipe.stream(labels, num_steps=5, seed=3))
    assert not compiled and len(frames) == 5
