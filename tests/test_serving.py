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
