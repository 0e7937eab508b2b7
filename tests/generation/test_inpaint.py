import numpy as np
import pytest

import lpd_jax
from lpd_jax.generation import inpaint, masks
from lpd_jax.runtime.errors import UserError
from tests import compilations, tiny

pytestmark = pytest.mark.usefixtures("one_scan")
LABELS = ["cat", "dog", "owl"]
HALF = np.tile(np.arange(8) >= 4, (8, 1))  # [8, 8]: the right half is repainted


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tokens(pipe, pictures):
    return pipe.encode(pictures)


def ragged_masks() -> np.ndarray:
    """Two images redraw 6 tokens, the other 7."""
    mask_BHW = np.zeros((3, 4, 4), bool)
    for row, count in enumerate((6, 7, 6)):
        mask_BHW[row].flat[np.random.default_rng(row).permutation(16)[:count]] = True
    return mask_BHW


@pytest.mark.parametrize("order", [None, "halton", np.arange(16)[::-1]])
def test_known_tokens_and_pixels_come_back_untouched(pipe, pictures, tokens, order):
    mask_BHW = ragged_masks()
    edited = inpaint.inpaint(pipe, pictures, LABELS, mask=mask_BHW, order=order)
    known_BN = ~mask_BHW.reshape(3, 16)
    np.testing.assert_array_equal(edited.tokens_BN[known_BN], tokens[known_BN])
    assert (edited.tokens_BN != tokens)[~known_BN].mean() > 0.5
    kept_BHW = ~masks.to_pixels(mask_BHW, 2)
    np.testing.assert_array_equal(edited.images_BHWC[kept_BHW], pictures[kept_BHW])
    assert (edited.images_BHWC != pictures)[~kept_BHW].any()


def test_a_mask_of_nothing_gives_the_input(pipe, pictures, tokens):
    """Beside another one; where nothing is to be done at all, the mask is a mistake."""
    masks_BHW = np.zeros((3, 8, 8), bool)
    masks_BHW[2] = True
    for ignored in (False, True):
        painted = pipe.inpaint(pictures, LABELS, mask=masks_BHW, ignore_hidden=ignored)
        np.testing.assert_array_equal(painted[:2], pictures[:2])
    edited = inpaint.inpaint(pipe, pictures, LABELS, mask=masks_BHW, keep_reconstruction=True)
    np.testing.assert_array_equal(edited.tokens_BN[:2], tokens[:2])
    np.testing.assert_array_equal(edited.images_BHWC[:2], pipe.decode(tokens)[:2])
    with pytest.raises(UserError, match="^mask: got one that repaints nothing"):
        pipe.inpaint(pictures, LABELS, mask=masks_BHW[:1])


@pytest.mark.parametrize("order", [None, "random"])
def test_a_mask_of_everything_gives_a_plain_picture(pipe, pictures, order):
    everything = np.ones((4, 4), bool)
    plain = pipe(LABELS, seed=5, order=order)
    for ignored in (False, True):
        choices = {"ignore_hidden": ignored, "seed": 5, "order": order}
        painted = pipe.inpaint(pictures, LABELS, mask=everything, **choices)
        np.testing.assert_array_equal(painted, plain)


def test_another_mask_does_not_recompile(pipe, pictures):
    """Masks of nearly as many cells share a program; sampling as in no other test."""
    random, seen = np.random.default_rng(1), set()
    cells = ((6, True), (7, False), (6, False), (12, True), (13, False))
    for count, compiles in cells:
        mask_HW = np.zeros(16, bool)
        mask_HW[random.permutation(16)[:count]] = True
        labels_B, mask_hw = random.integers(3, size=3), mask_HW.reshape(4, 4)
        with compilations.counted() as compiled:
            edited = inpaint.inpaint(pipe, pictures, labels_B, mask=mask_hw, seed=count, top_k=5)
        assert bool(compiled) == compiles
        seen.add(edited.tokens_BN.tobytes())
    assert len(seen) == len(cells)


def test_an_image_depends_on_its_index_not_on_the_others(pipe, pictures):
    mask_BHW = ragged_masks()
    together = inpaint.inpaint(pipe, pictures, LABELS, mask=mask_BHW, seed=2).tokens_BN
    alone = inpaint.inpaint(pipe, pictures[:1], LABELS[:1], mask=mask_BHW[:1], seed=2).tokens_BN
    np.testing.assert_array_equal(alone[0], together[0])
    # One mask for all is the same as one an image: the second picture needs no other's.
    same = inpaint.inpaint(pipe, pictures, LABELS, mask=mask_BHW[1], seed=2).tokens_BN
    np.testing.assert_array_equal(same[1], together[1])


def test_what_is_hidden_is_not_shown_to_the_model(pipe, pictures, tokens):
    mask_BHW = masks.pixel_mask(HALF, None, (8, 8), (4, 4))
    known_BN = np.repeat(masks.known_tokens(mask_BHW, 2), 3, axis=0)
    (part,) = inpaint.make_parts(pipe, LABELS, known_BN, {})
    request = inpaint.with_known(part, tokens)
    others = np.where(known_BN, tokens, (tokens + 1) % 32)
    np.testing.assert_array_equal(
        inpaint.with_known(part, others).known.tokens_BK, request.known.tokens_BK
    )


def test_hidden_pixels_can_be_ignored_altogether(pipe, pictures):
    """Whatever lies under the mask: the tokenizer sees a picture as a whole, and without it."""
    hidden = np.where(HALF[None, ..., None], np.uint8(0), pictures)
    same = [pipe.inpaint(x, LABELS, mask=HALF, ignore_hidden=True) for x in (pictures, hidden)]
    np.testing.assert_array_equal(*same)
    other = pipe.inpaint(hidden, LABELS, mask=HALF)
    assert (other != pipe.inpaint(pictures, LABELS, mask=HALF)).any()


def test_what_is_ignored_is_painted_twice(pipe, pictures):
    """First over the edges, continued; then over the draft, which the tokenizer sees in place."""
    continued = np.concatenate([pictures[:, :, :4], pictures[:, :, 3:4].repeat(4, axis=2)], axis=2)
    draft = pipe.inpaint(continued, LABELS, mask=HALF, seed=3)
    twice = pipe.inpaint(draft, LABELS, mask=HALF, seed=3)
    ignoring = pipe.inpaint(pictures, LABELS, mask=HALF, ignore_hidden=True, seed=3)
    np.testing.assert_array_equal(ignoring, twice)
    assert (draft != twice).any()


def test_a_class_edit_paints_the_new_class(pipe, pictures):
    choices = {"box": (2, 2, 4, 4), "order": "raster", "temperature": 0}  # all but the class equal
    three = pipe.edit_class(pictures[0], LABELS, **choices)  # one picture, three classes
    assert three.shape == (3, 8, 8, 3)
    assert len(np.unique(three.reshape(3, -1), axis=0)) > 1
    np.testing.assert_array_equal(three[1], pipe.inpaint(pictures[0], "dog", **choices)[0])


def test_the_seam_lies_inside_the_mask(pipe, pictures):
    choices = {"mask": HALF, "seed": 1}
    hard = pipe.inpaint(pictures, LABELS, seam=0, **choices)
    soft = pipe.inpaint(pictures, LABELS, **choices)  # a token, two pixels
    whole = pipe.inpaint(pictures, LABELS, keep_reconstruction=True, **choices)
    np.testing.assert_array_equal(hard[:, :, 4:], whole[:, :, 4:])
    np.testing.assert_array_equal(soft[:, :, 6:], whole[:, :, 6:])
    assert (soft != hard)[:, :, 4:6].any() and (whole != pictures)[:, :, :4].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((8, 8), np.uint8)}, r"images: got uint8 \(8, 8\), allowed is uint8"),
        ({"images": np.zeros((8, 8, 3))}, r"images: got float64 \(8, 8, 3\)"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, r"images: got uint8 \(0, 8, 8, 3\)"),
        ({"images": np.zeros((6, 8, 3), np.uint8)}, r"images: got \(6, 8\) .* model's \(8, 8\)"),
        ({"mask": np.ones((6, 8), bool)}, r"mask: got bool \(6, 8\)"),
        (
            {"mask": np.ones((2, 8, 8), bool)},
            "images, mask, labels: got 3, 2, 3, allowed is one of",
        ),
        ({"labels": ["cat", "dog"]}, "images, mask, labels: got 3, 1, 2"),
        ({"labels": "wolf"}, "labels: got 'wolf', allowed are .*cat, dog, owl"),
        ({"labels": 3}, "labels: got 3, allowed are whole numbers from 0 to 2"),
        ({"labels": []}, "images, mask, labels: got 3, 1, 0"),
        ({"mask": None, "box": (4, 4, 8, 2)}, "box: got top 4, left 4, height 8, width 2"),
        ({"seam": -1}, "seam: got -1, allowed are"),
        ({"num_steps": 17}, "num_steps: got 17, .* 16"),
        ({"group_sizes": [1, 15]}, r"group_sizes: got \[1, 15\], allowed in editing is None"),
        ({"output_size": 16}, "output_size: got 16, allowed in editing is None"),
        ({"order": "spiral"}, "order: got 'spiral', allowed are raster"),
        ({"temperature": -1}, "temperature: got -1"),
    ],
)
def test_a_bad_choice_is_one_line_naming_it(pipe, pictures, monkeypatch, changes, message):
    monkeypatch.setattr(pipe, "encode", None)  # found before any work is done
    given = {"images": pictures, "labels": LABELS, "mask": HALF} | changes
    with pytest.raises(ValueError, match=message) as error:
        pipe.inpaint(given.pop("images"), given.pop("labels"), **given)
    assert "\n" not in str(error.value)


def test_par_cannot_edit(tmp_path, pictures):
    path = tiny.write_model_directory(
        tmp_path / "par", transformer=tiny.PAR, order="region", num_steps=None
    )
    pipe = lpd_jax.Pipeline.from_pretrained(path)
    for edit in (pipe.inpaint, pipe.edit_class, pipe.outpaint):
        with pytest.raises(ValueError, match="got a PAR transformer, which draws in one order"):
            edit(pictures, LABELS)
