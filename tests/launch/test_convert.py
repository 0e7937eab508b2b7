import dataclasses
import pathlib

import numpy as np
import pytest

from lpd_jax.models.par_layout import PAR_MODELS
from lpd_jax.pipeline import Pipeline
from lpd_jax.weights.from_torch.conversion import from_torch
from lpd_jax.weights.from_torch.official import official_weights
from lpd_jax.weights.model_directory import load_model_directory, read_directory_config
from tests import tiny, torch_writer
from tests.launch import one_process

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
    text = {"cls_embedding.cap_proj.fc1.weight": lpd["norm.bias"]}
    torch_writer.write_zip(folder / "text.pt", text | {"tok_embeddings.weight": lpd["norm.bias"]})
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
    for file in ("lpd.pth", "vq.pt"):
        assert f"{file}: took entry 'model', the only one with weights" in result.stdout
    files = load_model_directory(tmp_path / "models" / "tiny")
    assert files.config.image_size == (32, 128)
    assert files.config.transformer.grid_size == (2, 8)
    for params, state_dict, heads in ((files.transformer, lpd, 4), (files.tokenizer, vq, None)):
        want = from_torch(state_dict, num_heads=heads)[1]
        for ours, theirs in zip(leaves(params), leaves(want), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "name", ["par_n4_dev", pytest.param("llamagen_dev", marks=pytest.mark.slow)]
)
def test_a_converted_par_draws_what_the_official_code_draws(checkpoints, tmp_path, name):
    folder, _, _ = checkpoints
    with np.load(GOLDEN / f"{name}.npz") as file:
        golden = dict(file)
    weights = {f"module.{key[3:]}": x for key, x in golden.items() if key.startswith("sd/")}
    torch_writer.write_zip(tmp_path / "par.pt", {"model": weights, "optimizer": {}, "steps": 9})
    options = ["--input=par.pt", f"--tokenizer={folder}/vq.pt", "--output=par"]
    result = tiny.run_python(SCRIPT, *options, "--num_heads=4", "--grid_size=8", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    pipe = Pipeline.from_pretrained(tmp_path / "par")
    assert pipe.image_size == (128, 128)
    for scale in (1, 2):
        drawn_BN = pipe.generate_tokens(golden["labels"], guidance_scale=scale, temperature=0)
        np.testing.assert_array_equal(drawn_BN, golden[f"decode/cfg{scale}/tokens"])


def test_says_what_no_weight_tells(tmp_path):
    narrow = dataclasses.replace(PAR_MODELS["llamagen_b"], num_layers=1, codebook_size=8)
    weights = {x.name: np.zeros(x.shape, np.float16) for x in official_weights(narrow)}
    torch_writer.write_zip(tmp_path / "c2i_B_384.pt", weights)
    options = ["--input=c2i_B_384.pt", "--output=b", "--dtype=float16"]
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:2] == [
        "num_heads: assumed 12, as published models 768 wide have",
        "grid_size: assumed 24x24, as published for 384 pixels; 16x16 is for 256",
    ]
    config = read_directory_config(tmp_path / "b")
    assert config.transformer.grid_size == (24, 24)
    assert len(config.class_names) == 1000 and config.class_names[1] == "goldfish"
    assert config.generation.guidance_scale == 2.0


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
    assert files.transformer is None and files.config.image_size == (256, 256)
    assert {file.name for file in (tmp_path / "vq").iterdir()} == {
        "config.json",
        "tokenizer.safetensors",
    }


WRONG = [
    (["--input=lpd.pth"], ["num_heads", "64 wide"]),
    (["--input=lpd.pth", "--grid_size=4by4"], ["grid_size", "'4by4'", "16x24"]),
    (["--input=truncated.pth"], ["truncated.pth", "5,000 bytes", "truncated"]),
    (
        ["--input=vq.pt", "--tokenizer=vq.pt"],
        ["input: got 'vq.pt', a tokenizer", "allowed beside --tokenizer is a transformer"],
    ),
    (
        ["--input=broken.pth", "--num_heads=4"],
        ["broken.pth", "missing head.weight", "unexpected surplus"],
    ),
    (["--input=text.pt"], ["text.pt", "cap_proj.fc1.weight", "draws from text; allowed are"]),
    ([], ["input", "--input=PATH"]),
    (["--input=lpd_l_256"], ["input: got 'lpd_l_256', a published model", "allowed is the file"]),
    (["--input=lpd.pth", "--tokenizer=vq16"], ["tokenizer: got 'vq16', a published model"]),
]


@pytest.fixture(scope="module")
def refusals(checkpoints, tmp_path_factory):
    folder, _, _ = checkpoints
    before = sorted(folder.iterdir())
    cases = [(folder, [*options, "--output=out"]) for options, _ in WRONG]
    outcomes = one_process.run_cases(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))
    assert sorted(folder.iterdir()) == before  # whichever of them wrote
    return outcomes


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: " ".join(WRONG[case][0]))
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_line(refusals[case], WRONG[case][1])


def test_an_existing_directory_stays_as_it_is(checkpoints, tmp_path):
    folder, _, _ = checkpoints
    (tmp_path / "notes.txt").write_text("mine")
    result = tiny.run_python(SCRIPT, f"--input={folder}/vq.pt", f"--output={tmp_path}", cwd=folder)
    assert result.returncode == 2
    assert (
        f"output: got {str(tmp_path)!r}, which exists; allowed is a new or an empty folder"
        in result.stderr
    )
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
