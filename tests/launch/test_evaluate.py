"""The command from a shell: what it writes, and what it refuses before it draws anything."""

import json

import numpy as np
import pytest

from lpd_jax.data.token_cache import INDEX_FILE
from lpd_jax.images import save_png
from tests import avatars, tiny
from tests.clip_writer import write_clip
from tests.evaluation import judging
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "evaluate.py"
WRONG = [
    (["--num_images=25"], ["num_images", "25", "12 classes", "24", "labels=uniform"]),
    (["--num_steps=17"], ["num_steps", "17", "16"]),
    (["--labels=all"], ["labels", "all", "uniform"]),
    (["--network=vgg"], ["network", "'vgg'", "efficientnet"]),
    (["--suites=adm"], ["suites", "'adm'", "'avatars12'", "features"]),
    (["--reference=nowhere.npz"], ["reference", "nowhere.npz", "not there", "mu"]),
    (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    (["--model=cats"], ["network", "missing", "efficientnet"]),
    (["--model=cats", "--network=avatars12"], ["network", "64 pixels", "8x8"]),
    (["--pictures=nowhere", "--network=avatars12"], ["pictures", "'nowhere'", "folder"]),
    (["--pictures=small.npz", "--network=avatars12"], ["network", "64 pixels", "8x8"]),
    (["--output=small.npz"], ["output", "small.npz", "file"]),
    (["--tokenizer=avatars", "--network=avatars12"], ["pictures", "missing"]),
    (["--make_reference=out.txt", "--pictures=small.npz"], ["make_reference", ".npz"]),
    (["--make_reference=small.npz", "--pictures=small.npz"], ["make_reference", "another file"]),
    (["--shard_size=0"], ["shard_size", "0"]),
    (["--model=clips"], ["network", "missing", "i3d"]),
    (["--model=clips", "--network=avatars12"], ["'avatars12'", "pictures", "5x16x16", "i3d"]),
    (["--pictures=films", "--network=avatars12"], ["films", "no pictures", "network=i3d"]),
    (["--pictures=small.npz", "--network=avatars12", "--image_size=9"], ["image_size", "9", "npz"]),
    (["--pictures=small.npz", "--labels=uniform"], ["labels", "beside pictures", "model"]),
    (["--tokenizer=avatars", "--num_steps=4"], ["num_steps", "beside tokenizer"]),
    (["--make_reference=a.npz", "--pictures=small.npz", "--seed=1"], ["seed", "beside pictures"]),
    (["--perceptual=vgg16"], ["perceptual", "'vgg16'", "tokenizer"]),
    (["--window=first"], ["window", "first", "middle", "random"]),
    (["--model=cats", "--pictures=small.npz"], ["model", "beside pictures"]),
    (["--make_reference=a.npz", "--pictures=avatars12", "--save=png"], ["save", "make_reference"]),
    (["--split=validation"], ["split", "without pictures"]),
    (["--image_size=32"], ["image_size", "without pictures"]),
    (["--lists=x"], ["lists", "for pictures", "clips"]),
    (
        ["--pictures=small.npz", "--network=avatars12", "--split=train"],
        ["split", "folder or a file", "all of it"],
    ),
    (
        ["--pictures=tokens", "--tokenizer=avatars", "--image_size=8", "--network=avatars12"],
        ["image_size", "for a token cache", "as they are"],
    ),
    (
        ["--pictures=tokens", "--tokenizer=avatars", "--perceptual=vgg16", "--network=avatars12"],
        ["perceptual", "for a token cache", "as they are"],
    ),
    (
        ["--pictures=photos", "--output=photos/judged", "--save=png", "--network=avatars12"],
        ["output", "in --pictures", "elsewhere"],
    ),
    (
        ["--model=clips", "--network=i3d", "--reference=small.npz", "--window=random"],
        ["window", "without a folder of clips", "reference"],
    ),
    (
        ["--pictures=small.npz", "--network=i3d", "--reference=films", "--num_frames=16"],
        ["num_frames", "without a folder in pictures"],
    ),
]

THERE = ("avatars", "cats", "small.npz", "clips", "films", "tokens", "photos")

# Of many calls in one process only the first could join a job: each is told that there is none.
# I3D's weights, which nobody has here, are not looked for.
ALONE = """
import jax
def initialize(*arguments):
    raise ValueError("no launcher")
jax.distributed.initialize = initialize
import contextlib, types
from lpd_jax.evaluation import judges
judges.find_i3d = lambda name, field: contextlib.nullcontext()
judges.load_i3d = lambda path: types.SimpleNamespace(digest="", num_features=4, protocol=dict)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models of avatars, of other pictures, of clips; an array of pictures, a folder of clips."""
    folder = tmp_path_factory.mktemp("models")
    avatars.write_model_directory(
        folder / "avatars", order="locality", num_steps=4, guidance_scale=2.0
    )
    tiny.write_model_directory(folder / "cats")
    judging.write_pictures(folder / "small.npz")
    tiny.write_clip_model(folder / "clips")
    write_clip(folder / "films" / "a.mp4", 3)
    for name in ("tokens", "photos"):
        (folder / name).mkdir()
    (folder / "tokens" / INDEX_FILE).write_text("{}")
    for number in range(2):
        save_png(folder / "photos" / f"{number}.png", np.full((64, 64, 3), number, np.uint8))
    return folder


def filled_in(folder, options):
    """Options with the fixture's paths in place of their names."""
    found = []
    for option in options:
        name, _, value = option.partition("=")
        there = value.partition("/")[0] in THERE
        found.append(f"{name}={folder / value}" if there else option)
    return found


@pytest.fixture(scope="module")
def refusals(folder, tmp_path_factory):
    place, cases = tmp_path_factory.mktemp("refused"), []
    for i, (options, _) in enumerate(WRONG):
        (place / f"case_{i}").mkdir()
        others = ("--pictures", "--tokenizer", "--make_reference")
        draws = not any(option.startswith(others) for option in options)
        model = [f"--model={folder / 'avatars'}"] * draws
        cases.append((place / f"case_{i}", [*model, *filled_in(folder, options)]))
    return one_process.run_cases(SCRIPT, cases, place, ALONE)


@pytest.mark.parametrize("row", range(len(WRONG)), ids=lambda row: WRONG[row][0][-1])
def test_a_wrong_argument_is_one_line_and_writes_nothing(refusals, row):
    one_process.check_refusal(refusals[row], WRONG[row][1])


@pytest.mark.slow  # a process that compiles what draws and what judges
def test_judges_a_model_makes_a_reference_and_judges_files(folder, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    model = [f"--model={folder / 'avatars'}", "--num_images=12"]
    made, drawn, again, files = one_process.run_cases(
        SCRIPT,
        [
            (place, ["--make_reference=real.npz", "--pictures=avatars12", "--network=avatars12"]),
            (place, [*model, "--reference=real.npz", "--output=a", "--save=npz"]),
            (place, [*model, "--reference=real.npz", "--output=a"]),
            (place, ["--pictures=a/pictures.npz", "--network=avatars12", "--reference=real.npz"]),
        ],
        tmp_path,
        ALONE + one_process.FEW_PICTURES,
    )
    for outcome in (made, drawn, again, files):
        assert outcome.code == 0, outcome.err
    assert "of 180 pictures" in made.out
    assert drawn.out.splitlines()[:3] == again.out.splitlines()[:3]
    assert "no FID" in drawn.out and "a/evaluation.json" in drawn.out
    record = json.loads((place / "a" / "evaluation.json").read_text())
    assert record["reference"]["name"] == "real.npz"
    assert record["reference"]["about"]["pictures"]["count"] == 180
    with np.load(place / "a" / "pictures.npz") as saved:
        assert saved["arr_0"].shape == (12, 64, 64, 3)
    (other,) = (place / "evaluations").iterdir()
    judged = json.loads((other / "evaluation.json").read_text())
    for name, number in judged["metrics"]["features"].items():
        assert number == record["metrics"]["features"][name]
