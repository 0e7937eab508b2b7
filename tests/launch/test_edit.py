import io
import json
import os
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "edit.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Pictures, masks, and files that are neither; every test copies what it edits."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    for name, size in (
        ("a", (8, 8)),
        ("a_0", (8, 8)),
        ("b", (8, 8)),
        ("photo", (30, 20)),
        ("wide", (8, 12)),
    ):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    mask_HW = np.zeros((8, 8), np.uint8)
    mask_HW[2:6, 2:6] = 255
    Image.fromarray(mask_HW).save(folder / "mask.png")
    Image.fromarray(mask_HW[:6]).save(folder / "small_mask.png")
    Image.fromarray(mask_HW // 255).save(folder / "mask_of_ones.png")
    beside_HW = np.zeros((30, 20), np.uint8)
    beside_HW[:5] = 255  # the square is the 20 rows in the middle
    Image.fromarray(beside_HW).save(folder / "mask_beside.png")
    (folder / "text.png").write_text("this is no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:100])
    (folder / "bomb.png").write_bytes(bomb())
    return folder


def bomb() -> bytes:
    """A picture of 30,000 x 30,000 pixels in a few hundred bytes, its data cut off."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    file.write(chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))
    return file.getvalue()


def read(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def run(model, tmp_path, *arguments):
    return tiny.run_python(SCRIPT, f"--model={model}", *arguments, cwd=tmp_path)


def test_inpaints_pictures_and_compares_them(model, inputs, tmp_path):
    options = [f"--input={inputs / 'a.png'},{inputs / 'b.png'}", f"--mask={inputs / 'mask.png'}"]
    result = run(model, tmp_path, "inpaint", *options, "--labels=cat,2", "--output=x.png")
    assert (result.returncode, result.stderr) == (0, "")
    assert "inpaint: 2 pictures of 8x8 pixels, 25% of them painted" in result.stdout
    written = ["x_0.png", "x_1.png", "lpd_comparison.png"]
    assert [line for line in result.stdout.splitlines() if line.startswith("wrote")] == [
        f"wrote {name}" for name in written
    ]
    assert {file.name for file in tmp_path.iterdir()} == set(written)
    for name, number in (("a", 0), ("b", 1)):
        changed_HW = (read(inputs / f"{name}.png") != read(tmp_path / f"x_{number}.png")).any(-1)
        assert changed_HW.any() and not changed_HW[:2].any() and not changed_HW[:, 6:].any()
    said = [said_in(tmp_path / name) for name in written]
    assert [x["index"] for x in said] == [0, 1, None]
    assert [x["classes"] for x in said] == [["cat"], ["owl"], ["cat", "owl"]]
    for facts in said:
        assert facts["seed"] == facts["generation"]["seed"] == 0 and facts["weights"]
        assert facts["edit"] == {
            "command": "inpaint",
            "input": ["a.png", "b.png"],
            "mask": "mask.png",
        }


def said_in(path) -> dict:
    """What a PNG says in its text chunk of how it was made."""
    with Image.open(path) as picture:
        return json.loads(picture.text["lpd_jax"])


@pytest.mark.slow
def test_paints_on_and_edits_classes_of_files_of_other_sizes(
    model, inputs, tmp_path, tmp_path_factory
):
    wide = [f"--input={inputs / 'wide.png'}", "--nocrop", "--left=4", "--labels=dog"]
    photo = [f"--input={inputs / 'photo.png'}", "--box=0,0,15,20", "--labels=cat,dog,owl"]
    cases = [
        ["outpaint", f"--model={model}", *wide, "--output=wide.png"],
        [f"--model={model}", *photo, "class", "--output=class.png"],
    ]
    outcomes = one_process.run_cases(
        SCRIPT, [(tmp_path, case) for case in cases], tmp_path_factory.mktemp("cases")
    )
    assert [(outcome.code, outcome.err) for outcome in outcomes] == [(0, "")] * 2
    np.testing.assert_array_equal(read(tmp_path / "wide.png")[:, 4:], read(inputs / "wide.png"))
    # Of 30 rows the middle 20 are seen.
    assert said_in(tmp_path / "class_2.png")["edit"]["box"] == [0, 0, 15, 20]
    assert said_in(tmp_path / "wide.png")["edit"]["left"] == 4
    told = "box: 0,0,15,20 of the 30x20 picture is 0,0,4,8 of the 8x8 that the model sees"
    assert told in outcomes[1].out and told not in outcomes[0].out
    assert "class: 3 pictures of 8x8 pixels, 50% of them painted" in outcomes[1].out
    lower = [read(tmp_path / f"class_{i}.png")[4:] for i in range(3)]
    np.testing.assert_array_equal(lower[0], lower[2])


WRONG = [
    (["--box=0,0,2,2"], ["command: got none", "inpaint, class, outpaint"]),
    (["paint", "--box=0,0,2,2"], ["command: got 'paint'"]),
    (["inpaint", "more"], ["argument 'more'"]),
    (["inpaint", "--input=IN/a.png"], ["labels: got none"]),
    (["inpaint", "--box=0,0,2,2"], ["input: got none", "8x8", "64x64"]),
    (["inpaint", "--model=avatars12", "--bundled=1200"], ["bundled: got [1200]", "1199"]),
    (["inpaint", "--input=IN/no.png", "--labels=0"], ["input", "no.png", "does not exist"]),
    (["inpaint", "--input=IN/text.png", "--labels=0"], ["input", "text.png", "picture files"]),
    (["inpaint", "--input=IN/cut.png", "--labels=0"], ["input", "cut.png", "picture files"]),
    (["inpaint", "--input=IN/bomb.png", "--labels=0"], ["input", "bomb.png", "pixels"]),
    (["inpaint", "--input=IN/wide.png", "--labels=0", "--nocrop", "--box=0,0,2,2"], ["8, 12"]),
    (["inpaint", "--input=IN/a.png,IN/wide.png", "--labels=0", "--nocrop"], ["8x8, 8x12"]),
    (["inpaint", "--input=IN/a.png", "--labels=wolf", "--box=0,0,2,2"], ["'wolf'", "cat, dog"]),
    (["inpaint", "--input=IN/a.png", "--labels=0"], ["mask, box: got none"]),
    (["inpaint", "--input=IN/a.png", "--labels=0", "--box=0,0,9,2"], ["box", "8x8"]),
    (["inpaint", "--input=IN/a.png", "--labels=0", "--box=0,0,x,2"], ["box: got 'x'"]),
    (["inpaint", "--input=IN/a.png", "--labels=0", "--mask=IN/small_mask.png"], ["(6, 8)"]),
    (["inpaint", "--input=IN/a.png", "--labels=0", "--left=2"], ["left", "inpaint"]),
    (["outpaint", "--input=IN/a.png", "--labels=0", "--box=0,0,2,2"], ["box", "outpaint"]),
    (["outpaint", "--input=IN/a.png", "--labels=0", "--left=3"], ["left: got 3"]),
    (["outpaint", "--input=IN/a.png", "--labels=0"], ["top, bottom, left, right: got 0 for each"]),
    (["inpaint", "--input=IN/me, too.png", "--labels=0"], ["'IN/me', which", "in double quotes"]),
    (["inpaint", "--output=x.jpg"], ["output", "'x.jpg'", ".png"]),
    (
        ["inpaint", "--output=x.png", "--comparison=x.png"],
        ["comparison", "'x.png'", "--output"],
    ),
    (["inpaint", "--input=IN/a.png", "--output=IN/a.png"], ["output", "a.png", "which is read"]),
    (["inpaint", "--input=~IN/a.png", "--output=IN/a.png"], ["output", "a.png", "which is read"]),
    (["inpaint", "--mask=IN/m.png", "--comparison=IN/m.png"], ["comparison", "m.png", "is read"]),
    (
        ["inpaint", "--output=IN/a.png", "--comparison=IN/../inputs0/a.png"],
        ["comparison", "a.png", "--output"],
    ),
    (["inpaint", "--input=IN/a.png", "--bundled=3", "--labels=0"], ["input, bundled: got both"]),
    (
        ["inpaint", "--input=IN/a_0.png,IN/b.png", "--labels=0", "--box=0,0,2,2"]
        + ["--output=IN/a.png"],
        ["output", "a_0.png", "which is read"],
    ),
    (
        ["inpaint", "--input=IN/a.png,IN/b.png", "--labels=0", "--box=0,0,2,2"]
        + ["--output=x.png", "--comparison=x_1.png"],
        ["comparison", "x_1.png", "one of the 2 pictures"],
    ),
    (["inpaint", "--input=", "--labels=0"], ["input: got an empty list"]),
    (["outpaint", "--input=IN/a.png", "--labels=0", "--left=2000000000"], ["canvas", "in all"]),
    (["inpaint", "--model=nowhere"], ["'nowhere'", "avatars12"]),
    (["inpaint", "--model=avatars12_par"], ["model: got 'avatars12_par', a PAR", "any order"]),
    (["inpaint", "--input=IN/photo.png", "--labels=0", "--box=0,0,4,4"], ["box", "beside"]),
    (["inpaint", "--input=IN/photo.png", "--labels=0", "--box=0,0,4,21"], ["box", "30x20"]),
    (["inpaint", "--input=IN/photo.png", "--labels=0", "--mask=IN/small_mask.png"], ["(30, 20)"]),
    (
        ["inpaint", "--input=IN/a.png", "--labels=0", "--mask=IN/mask_of_ones.png"],
        ["mask: got a picture whose lightest grey is 1 of 255", "greys above 127"],
    ),
    (
        ["inpaint", "--input=IN/photo.png", "--labels=0", "--mask=IN/mask_beside.png"],
        ["mask", "mask_beside.png", "beside the square", "30x20"],
    ),
]


@pytest.fixture(scope="module")
def refusals(model, inputs, tmp_path_factory):
    from_home = f"~/{os.path.relpath(inputs, pathlib.Path.home())}/"  # no shell writes it out
    cases = [
        [
            f"--model={model}",
            *(o.replace("~IN/", from_home).replace("IN/", f"{inputs}/") for o in options),
        ]
        for options, _ in WRONG
    ]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


def test_a_model_that_cannot_edit_and_wrong_steps_are_told_before_weights_are_read(
    tmp_path_factory,
):
    names = ["inpaint", "--model=avatars12_par", "--box=0,0,9,9"]
    steps = ["inpaint", "--box=0,0,9,9", "--num_steps=999"]
    for outcome, words in zip(
        one_process.refused(SCRIPT, [names, steps], tmp_path_factory.mktemp("early")),
        (["model: got 'avatars12_par'"], ["num_steps: got 999"]),
        strict=True,
    ):
        one_process.check_refusal(outcome, words)  # nothing is told of loading


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case, inputs):
    # Some are found when the model has been loaded, which is told.
    told = [text.replace("IN/", f"{inputs}/") for text in WRONG[case][1]]
    one_process.check_refusal(refusals[case]._replace(out=""), told)
