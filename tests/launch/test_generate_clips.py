"""Clips from a shell: films, sheets of frames, a file a clip, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import lpd_jax
from lpd_jax.generation.clip_pictures import contact_sheet
from lpd_jax.runtime.clip_files import frame_times
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "generate.py"
ALLOWED = ".png or .gif or .mp4 or .webp"
WRONG = [
    ("clips", ["--output=a.avi"], ["output", "'a.avi'", ALLOWED]),
    ("clips", ["--contact_sheet=a.gif"], ["contact_sheet", "'a.gif'", ".png"]),
    ("clips", ["--frame_rate=0"], ["frame_rate", "0"]),
    ("clips", ["--output=a.gif", "--animate=a.gif"], ["animate", "a.gif", "output too"]),
    ("clips", ["--animate=lpd_samples.gif"], ["lpd_samples.gif", "too", "another file"]),
    ("pictures", ["--output=a.mp4"], ["output", "'a.mp4'", ".png"]),
    ("pictures", ["--contact_sheet=a.png"], ["contact_sheet", "a.png", "draws pictures"]),
    ("pictures", ["--frame_rate=9"], ["frame_rate", "9", "draws pictures"]),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny.write_clip_model(folder / "clips", guidance_scale=1.5)
    tiny.write_model_directory(folder / "pictures")
    return folder


@pytest.mark.slow  # a process that compiles what draws and what decodes each step
def test_writes_films_sheets_arrays_and_a_file_a_clip(models, tmp_path):
    places = [tmp_path / name for name in ("film", "sheet", "many")]
    for place in places:
        place.mkdir()
    model = [f"--model={models / 'clips'}", "--labels=owl,cat"]
    film = ["--output=a.mp4", "--contact_sheet=a.png", "--frame_rate=4", "--animate=steps.gif"]
    runs = [film, [], ["--output_dir=clips", "--npz=clips.npz"]]
    cases = [(place, model + options) for place, options in zip(places, runs, strict=True)]
    cases[1] = (places[1], ["--model=clips", "--labels=owl,cat"])  # by its name
    stand_in = f"pathlib.Path({str(models / 'clips')!r})"
    named = (
        f"import pathlib\nfrom lpd_jax.weights import hub\nhub.BUNDLED_MODELS['clips'] = {stand_in}"
    )
    outcomes = one_process.run_cases(SCRIPT, cases, tmp_path, named)
    for outcome in outcomes:
        assert (outcome.code, outcome.err) == (0, "")
    assert "drew 2 clips in" in outcomes[0].out and "per clip" in outcomes[0].out
    clips_BTHWC = lpd_jax.Pipeline.from_pretrained(models / "clips")(["owl", "cat"])

    np.testing.assert_allclose(frame_times(places[0] / "a.mp4"), np.arange(5) / 4, atol=1e-3)
    with Image.open(places[0] / "a.png") as sheet:
        pixels_HWC, said = np.asarray(sheet), json.loads(sheet.text["lpd_jax"])
    assert said["classes"] == ["owl", "cat"]
    np.testing.assert_array_equal(pixels_HWC, contact_sheet(clips_BTHWC, ["owl", "cat"]))
    with Image.open(places[0] / "steps.gif") as steps:
        assert steps.n_frames == 11 and steps.size == sheet.size  # 4, then groups of 4 of 32

    assert "wrote lpd_samples.gif" in outcomes[1].out
    with Image.open(places[1] / "lpd_samples.gif") as gif:
        assert gif.n_frames == 5 and gif.info["duration"] in (120, 130)

    files = sorted(file.name for file in (places[2] / "clips").iterdir())
    assert files == ["000000.mp4", "000001.mp4"]
    assert not list(places[2].glob("lpd_samples*"))
    with np.load(places[2] / "clips.npz") as arrays:
        np.testing.assert_array_equal(arrays["arr_0"], clips_BTHWC)
        assert arrays["arr_1"].tolist() == [2, 0]


@pytest.fixture(scope="module")
def refusals(models, tmp_path_factory):
    place, cases = tmp_path_factory.mktemp("refused"), []
    for i, (model, options, _) in enumerate(WRONG):
        (place / f"case_{i}").mkdir()
        cases.append((place / f"case_{i}", [f"--model={models / model}", *options]))
    return one_process.run_cases(SCRIPT, cases, place)


@pytest.mark.parametrize("row", range(len(WRONG)), ids=lambda row: WRONG[row][1][0])
def test_a_wrong_argument_is_one_line_and_writes_nothing(refusals, row):
    one_process.check_refusal(refusals[row], WRONG[row][2])
