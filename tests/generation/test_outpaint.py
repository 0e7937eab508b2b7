import itertools

import numpy as np
import pytest

import lpd_jax
from lpd_jax.generation import outpaint
from tests import compilations, tiny

pytestmark = pytest.mark.usefixtures("one_scan")
HALF = np.tile(np.arange(8) >= 4, (8, 1))


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    path = tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")
    return lpd_jax.Pipeline.from_pretrained(path)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


def sides(**given):
    return dict.fromkeys(outpaint.SIDES, 0) | given


@pytest.mark.parametrize(
    ("size", "added"),
    [
        ((8, 8), sides(left=8)),
        ((8, 8), sides(top=2, bottom=6, left=4, right=12)),
        ((2, 4), sides(top=20, right=12)),
        ((16, 24), sides(bottom=2, left=2)),
        ((8, 12), sides(left=-4, right=6)),
    ],
)
@pytest.mark.parametrize("overlap", [2, 4, 6])
def test_windows_cover_the_canvas_and_each_knows_some_of_it(size, added, overlap):
    layout = outpaint.lay_out(size, added, 2, (8, 8))
    assert layout.canvas == (
        size[0] + added["top"] + added["bottom"],
        size[1] + added["left"] + added["right"],
    )
    known_HW = np.zeros(layout.canvas, bool)
    known_HW[layout.kept] = True
    for area, mask_HW in outpaint.lay_windows(layout, 2, (8, 8), (overlap, overlap)):
        assert mask_HW.shape == (8, 8) and mask_HW.any()
        np.testing.assert_array_equal(mask_HW, ~known_HW[area])
        assert (~mask_HW).sum() >= min(2 * overlap, known_HW.sum())
        assert not any(part.start % 2 for part in area)  # whole tokens
        known_HW[area] = True
    assert known_HW.all()


def test_windows_are_few():
    layout = outpaint.lay_out((8, 8), sides(left=8, right=8), 2, (8, 8))
    windows = outpaint.lay_windows(layout, 2, (8, 8), (4, 4))
    assert sorted(area[1].start for area, _ in windows) == [0, 4, 12, 16]
    layout = outpaint.lay_out((8, 8), sides(right=2), 2, (8, 8))
    assert len(list(outpaint.lay_windows(layout, 2, (8, 8), (4, 4)))) == 1


def test_the_picture_stays_where_it_is_and_the_rest_is_painted(pipe, pictures):
    choices = {"left": 4, "top": 4, "overlap": 4}
    canvas_BHWC = pipe.outpaint(pictures, ["cat", "owl"], seed=1, **choices)
    assert (canvas_BHWC.shape, canvas_BHWC.dtype) == ((2, 12, 12, 3), np.uint8)
    np.testing.assert_array_equal(canvas_BHWC[:, 4:, 4:], pictures)
    other_BHWC = pipe.outpaint(pictures, ["cat", "owl"], seed=2, **choices)
    new_BHW = np.ones(canvas_BHWC.shape[:3], bool)
    new_BHW[:, 4:, 4:] = False
    assert (canvas_BHWC != other_BHWC)[new_BHW].mean() > 0.3


def test_on_the_models_grid_a_picture_can_be_moved(pipe, pictures):
    edited = outpaint.outpaint(pipe, pictures, "dog", left=-4, right=4)
    assert edited.images_BHWC.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(edited.images_BHWC[:, :, :4], pictures[:, :, 4:])
    assert edited.mask_BHW.mean() == 0.5 and edited.mask_BHW[:, :, 4:].all()
    # It is the picture's right half that is inpainted, with nothing known of the rest.
    moved_BHWC = np.pad(pictures[:, :, 4:], ((0, 0), (0, 0), (0, 4), (0, 0)))
    choices = {"mask": edited.mask_BHW[0], "ignore_hidden": True}
    np.testing.assert_array_equal(edited.images_BHWC, pipe.inpaint(moved_BHWC, "dog", **choices))


def test_nothing_added_gives_the_input(pipe, pictures):
    np.testing.assert_array_equal(pipe.outpaint(pictures, "dog"), pictures)


def test_windows_of_one_shape_share_a_compilation_but_not_their_noise(pipe, pictures, monkeypatch):
    seeds, compiled, draw = [], [], pipe.draw

    def watched(request):
        seeds.append(request.seed)
        with compilations.counted() as now:
            drawn = draw(request)
        compiled.append(bool(now))
        return drawn

    monkeypatch.setattr(pipe, "draw", watched)
    pipe.outpaint(pictures, "dog", right=16, overlap=4, seed=3)
    assert not any(compiled[1:])
    assert seeds[::2] == seeds[1::2] and len(seeds) == 8  # a draft and the picture, four windows
    assert seeds[0] == 3 and len(set(seeds)) == 4


def test_seeds_of_windows_are_seeds():
    seeds = list(itertools.islice(outpaint.window_seeds(2**32 - 1), 5))
    assert seeds[0] == 2**32 - 1 and len(set(seeds)) == 5
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": 3}, "left: got 3 pixels, allowed are multiples of 2"),
        ({"left": 2.0}, "left: got 2.0, allowed are whole numbers"),
        ({"left": -8}, "left.*: got 0, 0, -8, 0, so nothing of the picture of .* would be left"),
        ({"left": -4}, "canvas would be 8x4 pixels, allowed is at least the model's picture, 8x8"),
        ({"left": -10}, "left: got -10, allowed are"),
        ({"left": 2**40}, "canvas would be 8x1099511627784 pixels, allowed are 67,108,864 in all"),
        ({"left": 2, "overlap": 8}, "overlap: got 8, allowed are whole numbers from 2 to 6"),
        ({"left": 2, "overlap": 3}, "overlap: got 3 pixels, allowed are multiples of 2"),
        ({"left": 2, "seed": -1}, "seed: got -1, allowed are"),
        ({"left": 2, "labels": "wolf"}, "labels: got 'wolf'"),
        ({"left": 2, "labels": [0, 1, 2]}, "images, labels: got 2, 3, allowed is one of each"),
        ({"left": 2, "images": np.zeros((7, 8, 3), np.uint8)}, r"images: got \(7, 8\) pixels"),
        ({"left": 2, "seam": -1}, "seam: got -1, allowed are"),
        ({"left": 2, "top_k": 33}, "top_k: got 33"),
    ],
)
def test_a_bad_choice_is_one_line_naming_it(pipe, pictures, monkeypatch, changes, message):
    monkeypatch.setattr(pipe, "encode", None)  # found before any work is done
    given = {"images": pictures, "labels": "cat"} | changes
    with pytest.raises(ValueError, match=message) as error:
        pipe.outpaint(given.pop("images"), given.pop("labels"), **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("outpaint", {"mask": HALF}, r"Pipeline.outpaint\(\) got an unexpected .* 'mask'"),
        ("outpaint", {"lef": 8}, "argument 'lef'; did you mean 'left'"),
        ("inpaint", {"box": (0, 0, 2, 2), "sead": 1}, r"Pipeline.inpaint\(\) .* you mean 'seed'"),
        ("edit_class", {"left": 8}, r"Pipeline.edit_class\(\) got an unexpected .* 'left'"),
    ],
)
def test_an_argument_that_a_method_does_not_have_is_told_as_the_methods(
    pipe, pictures, method, given, message
):
    with pytest.raises(TypeError, match=message):
        getattr(pipe, method)(pictures, [0], **given)
