import numpy as np
import pytest
from PIL import Image

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


WRONG = [
    (["--labels=wolf"], ["labels", "'wolf'", "cat, dog, owl"]),
    (["--labels=0,3"], ["labels: got 3", "0 to 2"]),
    (["--num_steps=17"], ["num_steps: got 17", "16"]),
    (["--group_sizes=1,x"], ["group_sizes", "'x'", "whole numbers"]),
    (["--top_p=0"], ["top_p", "0"]),
    (["--output=a.jpg"], ["output", "'a.jpg'", ".png"]),
    (["--animate=nowhere/a.gif"], ["animate", "nowhere"]),
    (["--model=nowhere"], ["'nowhere'", "avatars12"]),
    (["--num_images=0"], ["num_images"]),
]


@pytest.fixture(scope="module")
def refusals(model, tmp_path_factory):
    cases = [[f"--model={model}", *options] for options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
