"""Pictures to a token cache to a transformer, by the scripts."""

import json
import textwrap

import numpy as np
import pytest

from lpd_jax.data.token_cache import open_token_cache
from tests import tiny
from tests.data import photos
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "cache_tokens.py"
TRAIN = tiny.REPOSITORY / "launch" / "train.py"
CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({
        "num_steps": 1,
        "batch_size": 4,
        "tokenizer": "vq",
        "model": {
            "family": "lpd", "num_layers": 1, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2,
            "grid_size": (4, 4), "codebook_size": 32, "num_classes": 3,
        },
        "data": {
            "dataset": "folder", "name": "", "path": "photos", "image_size": 8,
            "bad_images": "fail", "random_views": True,
        },
        "generation": {"num_steps": 4},
    })
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    (folder / "lpd.py").write_text(textwrap.dedent(CONFIG))
    tiny.write_model_directory(folder / "vq", transformer=None)
    photos.write_folder(folder / "photos" / "train", 4)
    photos.write_folder(folder / "photos" / "val", 2)
    (folder / "empty").mkdir()
    return folder


def run(script, folder, *options):
    return tiny.run_python(script, "--config=lpd.py", *options, cwd=folder)


@pytest.mark.slow
def test_a_cache_of_a_folder_is_trained_on_without_the_folder(folder):
    for split, count in (("train", 12), ("validation", 6)):
        result = run(SCRIPT, folder, "--output=tokens", f"--split={split}")
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"{count} images in 2 views of 4x4 tokens: tokens/{split}")
        assert "image/s" in result.stderr
    options = ["--config.data.dataset=tokens", "--config.data.path=tokens"]
    options += ["--config.data.image_size=0", "--workdir=run"]
    (folder / "photos").rename(folder / "elsewhere")
    try:
        result = run(TRAIN, folder, *options)
    finally:
        (folder / "elsewhere").rename(folder / "photos")
    assert result.returncode == 0, result.stderr
    assert "12 examples" in result.stdout and not (folder / "run" / "tokens").exists()


@pytest.mark.slow
def test_ten_crops_in_small_shards(folder):
    options = ["--output=crops", "--ten_crop", "--images_per_shard=5", "--batch_size=4"]
    result = run(SCRIPT, folder, *options)
    assert result.returncode == 0, result.stderr
    cache = open_token_cache(folder / "crops" / "train")
    assert (len(cache), cache.num_views, cache.settings.num_shards) == (12, 10, 3)
    # Once more with other options: refused, and as it was.
    before = json.loads((folder / "crops" / "train" / "index.json").read_text())
    again = run(SCRIPT, folder, *options[:-2])
    assert again.returncode == 2 and again.stdout == ""
    assert again.stderr.endswith("differing: images_per_shard (there 5, here 4096)\n")
    assert json.loads((folder / "crops" / "train" / "index.json").read_text()) == before


WRONG = [
    ("--split=test", "split"),
    ("--crop_ratio=1.2", "crop_ratio: given alone, allowed with ten_crop or from"),
    ("--batch_size=0", "batch_size: got 0, allowed is at least 1"),
    ("--config.data.path=empty", "data.path, data.train_split: got 'empty', which holds no fo"),
    ("--config.data.image_size=16", "model.grid_size: got (4, 4), allowed is (8, 8), as the"),
    ("--config.data.dataset=tokens", "data.image_size: got 8, allowed is none with dataset"),
    ("--output=lpd.py", "output: got 'lpd.py/train', which cannot be written to (Not a direct"),
]


@pytest.fixture(scope="module")
def refusals(folder, tmp_path_factory):
    before = sorted(folder.rglob("*"))
    cases = [
        (folder, ["--config=lpd.py", option, *([] if "--output" in option else ["--output=new"])])
        for option, _ in WRONG
    ]
    outcomes = one_process.run_cases(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))
    assert sorted(folder.rglob("*")) == before  # whichever of them wrote
    return outcomes


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_line(refusals[case], ["cache_tokens.py: ", WRONG[case][1]])


@pytest.mark.slow
def test_takes_over_a_cache_of_other_code(folder):
    """Ten crops of two ratios, and a damaged file in one line."""
    rng = np.random.default_rng(0)
    for name in ("codes_110", "codes_105"):
        for i in range(3):
            for kind, array in (("codes", rng.integers(0, 32, (1, 10, 16))), ("labels", [i])):
                (folder / name / f"x_{kind}").mkdir(parents=True, exist_ok=True)
                np.save(folder / name / f"x_{kind}" / f"{i}.npy", np.asarray(array))
    options = ["--from=codes_110,codes_105", "--crop_ratio=1.1,1.05"]
    result = run(SCRIPT, folder, "--output=taken", *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("3 images in 20 views of 4x4 tokens: taken/train, ")
    assert open_token_cache(folder / "taken" / "train").settings.crop_ratios == (1.1, 1.05)
    (folder / "codes_105" / "x_codes" / "1.npy").write_bytes(b"")
    result = run(SCRIPT, folder, "--output=broken", *options)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("cache_tokens.py: from: codes_105: 1.npy is missing or damaged")
    for ratio in ("1.1,1.1", "large"):
        result = run(SCRIPT, folder, "--output=other", f"--crop_ratio={ratio}")
        problem = f"crop_ratio: got '{ratio}', allowed are different numbers, as in 1.1,1.05"
        assert result.stderr == f"cache_tokens.py: {problem}\n"
