import json
import types
import weakref

import numpy as np
import pytest
from PIL import Image

import lpd_jax
from lpd_jax.commands import generate
from lpd_jax.generation.model_help import model_help
from lpd_jax.generation.picture_sinks import PictureFolder, tell_of_others
from lpd_jax.weights.model_directory import directory_digest
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "generate.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


def test_writes_a_grid_an_animation_and_tokens(model, tmp_path):
    options = ["--output=a.png", "--animate=a.gif", "--save_tokens=a.npy", "--labels=owl,0"]
    result = tiny.run_python(
        SCRIPT, f"--model={model}", *options, "--num_images=3", "--num_steps=5", cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "compiled in" in result.stdout
    assert "drew 3 pictures in 5 steps each" in result.stdout
    assert [line for line in result.stdout.splitlines() if line.startswith("wrote")] == [
        "wrote a.png",
        "wrote a.gif",
        "wrote a.npy",
    ]
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "a.gif", "a.npy"}
    tokens_BN = np.load(tmp_path / "a.npy")
    assert (tokens_BN.shape, tokens_BN.dtype) == ((3, 16), np.int32)
    with Image.open(tmp_path / "a.gif") as film, Image.open(tmp_path / "a.png") as grid:
        assert film.n_frames == 5
        assert film.size == grid.size


def test_pictures_that_are_in_their_files_do_not_stay_in_memory():
    drawn_before, alive = [], []

    def batches(request):
        for _ in request.labels:
            alive.append(sum(batch() is not None for batch in drawn_before))
            images_BHWC, tokens_BN = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 16), np.int32)
            drawn_before.append(weakref.ref(images_BHWC))
            yield images_BHWC, tokens_BN

    request = types.SimpleNamespace(labels=[0] * 4)
    drawn = generate.draw(types.SimpleNamespace(batches=batches), request, {}, {})
    assert drawn.images.shape == (0, 8, 8, 3)
    assert alive == [0, 1, 1, 1]


def test_many_pictures_go_to_a_folder_and_to_adms_array(model, tmp_path):
    options = [f"--model={model}", "--output_dir=many", "--npz=many.npz", "--num_images=5"]
    (done,) = one_process.run_cases(SCRIPT, [(tmp_path, options)], tmp_path)
    assert done.code == 0 and "wrote many.npz" in done.out and "wrote many\n" in done.out
    assert not (tmp_path / "lpd_samples.png").exists()  # nobody asked for it
    with np.load(tmp_path / "many.npz") as arrays:
        pictures_BHWC, labels_B = arrays["arr_0"], arrays["arr_1"]
    assert (pictures_BHWC.shape, pictures_BHWC.dtype) == ((5, 8, 8, 3), np.uint8)
    assert labels_B.tolist() == [0, 1, 2, 0, 1] and labels_B.dtype == np.int64
    files = sorted((tmp_path / "many").iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(5)]
    for i, file in enumerate(files):
        with Image.open(file) as picture:
            np.testing.assert_array_equal(np.asarray(picture), pictures_BHWC[i])
            said = json.loads(picture.text["lpd_jax"])
        assert (said["index"], said["labels"], said["classes"][0]) == (
            i,
            [labels_B[i]],
            tiny.CLASS_NAMES[labels_B[i]],
        )
    # What a file says draws the same picture again.
    pipe = lpd_jax.Pipeline.from_pretrained(model)
    again_BHWC = pipe(labels_B[: said["index"] + 1], **said["generation"])
    np.testing.assert_array_equal(again_BHWC[-1], pictures_BHWC[-1])
    assert said["weights"] == directory_digest(model) and said["seed"] == 0
    assert done.err == ""


def test_files_of_a_longer_run_before_are_told_of(tmp_path, caplog):
    for name in ("000001.png", "000003.png", "000017.png", "notes.png"):
        (tmp_path / name).touch()
    tell_of_others(tmp_path, 3, PictureFolder.name_of)
    tell_of_others(tmp_path, 18, PictureFolder.name_of)
    (line,) = caplog.messages
    assert "holds 2 files of an earlier run as well, numbered 000003 to 000017" in line


def test_help_tells_of_the_model(model, monkeypatch):
    text = " ".join(model_help(["--num_images=3", "--model", str(model)]).split())
    assert "0 cat, 1 dog, 2 owl" in text and "order=locality" in text
    monkeypatch.chdir(model.parents[1])
    assert "0 cat" in model_help([f"--model={model.relative_to(model.parents[1])}"])
    assert "0 pixelArt" in model_help([]) and "'nowhere'" in model_help(["--model=nowhere"])
    for name in ("owner/name", "lpd_l_256"):  # nothing is fetched
        assert "once it is here" in model_help([f"--model={name}"])


WRONG = [
    (["--output_dir=/dev/null"], ["output_dir: got", "is a file"]),
    (["--npz=a.npy"], ["npz", "'a.npy'", ".npz"]),
    (["--labels=wolf"], ["labels", "'wolf'", "cat, dog, owl"]),
    (["--labels=0,3"], ["labels: got 3", "0 to 2"]),
    (["--num_steps=17"], ["num_steps: got 17", "16"]),
    (["--group_sizes=1,x"], ["group_sizes", "'x'", "whole numbers"]),
    (["--top_p=0"], ["top_p", "0"]),
    (["--output=a.jpg"], ["output", "'a.jpg'", ".png"]),
    (["--animate=nowhere/a.gif"], ["animate", "nowhere"]),
    (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    (["--num_images=0"], ["num_images"]),
    (["--num_images=65", "--output_size=2048"], ["num_images: got 65", "of output are 64", "npz"]),
    (
        ["--num_images=65", "--output_size=2048", "--npz=a.npz", "--animate=a.gif"]
        + ["--num_steps=1"],
        ["num_images: got 65", "of animate of 1 steps are 64"],
    ),
    (
        ["--num_images=17", "--output_size=2048", "--npz=a.npz", "--animate=a.gif"]
        + ["--num_steps=4"],
        ["num_images: got 17", "of animate of 4 steps are 16"],
    ),
    (
        ["--labels=0,1", "--output_dir=.", "--output=000001.png"],
        ["output: got '000001.png'", "one of the 2 files of output_dir"],
    ),
]


@pytest.fixture(scope="module")
def refusals(model, tmp_path_factory):
    cases = [[f"--model={model}", *options] for options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
