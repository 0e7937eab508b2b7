import pathlib

import numpy as np
import pytest

from lpd_jax.model_directory import load_model_directory
from lpd_jax.models.convert import from_torch
from tests import tiny, torch_writer

SCRIPT = tiny.REPOSITORY / "launch" / "convert.py"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Files like the released ones: an LPD, a tokenizer with as many codes, and a broken LPD."""
    folder = tmp_path_factory.mktemp("checkpoints")
    args = torch_writer.Call("argparse Namespace", (), {"lr": 1e-4})
    lpd = {
        name[3:]: x for name, x in np.load(GOLDEN / "lpd_tiny16.npz").items() if name[:3] == "sd/"
    }
    vq = {name[3:]: x for name, x in np.load(GOLDEN / "vq_tiny.npz").items() if name[:3] == "sd/"}
    vq["quantize.embedding.weight"] = np.tile(vq["quantize.embedding.weight"], (2, 1))
    torch_writer.write_zip(folder / "lpd.pth", {"model": lpd, "args": args, "epoch": 450})
    torch_writer.write_legacy(folder / "vq.pt", {"model": vq, "optimizer": {}, "args": args})
    torch_writer.write_zip(
        folder / "broken.pth",
        {
            "module.norm.weight": lpd["norm.weight"],
            **{name: x for name, x in lpd.items() if name not in ("norm.weight", "head.weight")},
            "surplus": lpd["norm.bias"],
        },
    )
    (folder / "truncated.pth").write_bytes((folder / "lpd.pth").read_bytes()[:5000])
    return folder, lpd, vq


def test_writes_a_model_directory_of_both(checkpoints, tmp_path):
    folder, lpd, vq = checkpoints
    options = [f"--input={folder}/lpd.pth", f"--tokenizer={folder}/vq.pt", "--output=models/tiny"]
    result = tiny.run_python(SCRIPT, *options, "--num_heads=4", "--grid_size=2x8", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "transformer: " in result.stdout and "wrote models/tiny in" in result.stdout
    files = load_model_directory(tmp_path / "models" / "tiny")
    assert files.config["image_size"] == [32, 128]
    assert files.config["transformer"]["grid_size"] == [2, 8]
    for params, state_dict, heads in ((files.transformer, lpd, 4), (files.tokenizer, vq, None)):
        want = from_torch(state_dict, num_heads=heads)[1]
        for ours, theirs in zip(leaves(params), leaves(want), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def leaves(tree):
    if not isinstance(tree, dict):
        return [tree]
    return [leaf for name in sorted(tree) for leaf in leaves(tree[name])]


def test_writes_one_of_the_two_into_an_empty_folder(checkpoints, tmp_path):
    folder, _, _ = checkpoints
    (tmp_path / "vq").mkdir()
    options = [f"--input={folder}/vq.pt", "--output=vq", "--dtype=float16"]
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    files = load_model_directory(tmp_path / "vq")
    assert files.transformer is None and files.config["image_size"] == [256, 256]
    assert {file.name for file in (tmp_path / "vq").iterdir()} == {
        "config.json",
        "tokenizer.safetensors",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--input=lpd.pth"], ["num_heads", "64 wide"]),
        (["--input=lpd.pth", "--grid_size=4by4"], ["grid_size", "'4by4'", "16x24"]),
        (["--input=truncated.pth"], ["truncated.pth", "5,000 bytes", "truncated"]),
        (
            ["--input=vq.pt", "--tokenizer=vq.pt"],
            ["vq.pt is a VQ", "allowed beside --tokenizer is an LPD"],
        ),
        (
            ["--input=broken.pth", "--num_heads=4"],
            ["broken.pth", "missing head.weight", "unexpected surplus"],
        ),
        ([], ["input", "--input=PATH"]),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(checkpoints, tmp_path, options, words):
    folder, _, _ = checkpoints
    before = sorted(folder.iterdir())
    result = tiny.run_python(SCRIPT, *options, f"--output={tmp_path}/out", cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir()) and sorted(folder.iterdir()) == before


def test_an_existing_directory_stays_as_it_is(checkpoints, tmp_path):
    folder, _, _ = checkpoints
    (tmp_path / "notes.txt").write_text("mine")
    result = tiny.run_python(SCRIPT, f"--input={folder}/vq.pt", f"--output={tmp_path}", cwd=folder)
    assert result.returncode == 2
    assert f"output: {tmp_path} exists; allowed is a new or an empty folder" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
