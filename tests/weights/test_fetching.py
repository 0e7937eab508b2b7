"""Models of a hub: its own client against a server on this machine, in a process of its own."""

import json
import os
import subprocess
import sys
from concurrent import futures

import chex
import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.weights.from_torch.conversion import to_torch_names
from lpd_jax.weights.model_directory import load_model_directory
from lpd_jax.weights.published import PUBLISHED, find_published
from tests import tiny, torch_writer
from tests.hub_server import running_hub

pytest.importorskip("huggingface_hub")
VQ = VQConfig(
    base_channels=32,
    channel_multipliers=(1, 1),
    num_res_blocks=1,
    z_channels=32,
    codebook_size=tiny.PAR.codebook_size,
)
# Asks for models one after the other; tells what came of each.
USER = """
import json, sys
import huggingface_hub.constants
from lpd_jax.weights import hub, published
from lpd_jax.weights.published import Published

for entry in (
    Published("tiny_par", "owner/par", "", 1000, "MIT", "tiny_vq"),
    Published("sharded_par", "owner/sharded", "", 1000, "MIT", "tiny_vq"),
    Published("tiny_vq", "owner/vq", "vq.pt", 100, "MIT", ""),
    Published("other_vq", "owner/vq", "vq.pt", 100, "MIT", "", sha256="0" * 64),
    Published("gone", "owner/gone", "gone.pt", 100, "none stated", "tiny_vq"),
):
    published.PUBLISHED[entry.name] = entry
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 4096  # so that half a small file reaches the disk
for name in sys.argv[1:]:
    try:
        folder = hub.find_model_directory(name)
        print(json.dumps([str(folder), sorted(file.name for file in folder.iterdir())]))
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub") / "root"
    for folder in ("owner/par", "owner/vq", "owner/sharded"):
        (root / folder).mkdir(parents=True)
    angles = {"freqs_cis": np.zeros((20, 4, 2), np.float32)}  # they tell heads and grid
    weights = to_torch_names(tiny.PAR, tiny.random_params(tiny.PAR)) | angles
    torch_writer.write_zip(root / "owner/par/PAR.pt", {"model": weights})
    (root / "owner/par/README.md").write_text("# PAR")
    write_shards(root / "owner/sharded", weights)
    weights = to_torch_names(VQ, tiny.random_params(VQ))
    torch_writer.write_zip(root / "owner/vq/vq.pt", {"model": weights})
    tiny.write_model_directory(root / "owner/ready")
    (root / "owner/ready/large.bin").write_bytes(b"nobody asked")
    return root


def write_shards(folder, weights):
    """As `save_pretrained` of transformers does with what is large."""
    places = {}
    for number, name in enumerate(weights):
        places[name] = f"model-{1 + number % 2:05d}-of-00002.safetensors"
    for file in set(places.values()):
        part = {name: np.array(weights[name]) for name in places if places[name] == file}
        safetensors.numpy.save_file(part, folder / file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.fixture(scope="module")
def hub(repositories):
    with running_hub(repositories) as (hub, address):
        yield hub, address


def ask(hub, home, *names, **environment):
    """(outcomes, what was told, what the hub was asked) of a fresh process."""
    server, address = hub
    server.asked.clear()
    environment = {
        **tiny.process_environment(home / "compiled"),
        "HF_ENDPOINT": address,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "XDG_CACHE_HOME": str(home / "cache"),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", USER, *names],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr, server.asked


def test_published_weights_are_fetched_and_converted_once(hub, tmp_path):
    (par, ready), told, asked = ask(hub, tmp_path, "tiny_par", "owner/ready")
    assert par[1] == ["README.md", "config.json", "model.safetensors", "tokenizer.safetensors"]
    assert os.path.commonpath([par[0], tmp_path / "cache"]) == str(tmp_path / "cache")
    assert "large.bin" not in ready[1] and "config.json" in ready[1]
    assert "tiny_par: fetching owner/par/PAR.pt (4e-06 GB or more; licence: MIT)" in told
    assert "tiny_par: converting PAR.pt and vq.pt once, to" in told
    card = (tmp_path / par[0] / "README.md").read_text()
    assert 'license: "MIT"' in card and "Source: owner/par, owner/vq/vq.pt." in card
    assert any("GET /owner/par/resolve/main/PAR.pt" in line for line in asked)
    # A second process downloads nothing, and one without a network needs none.
    (again,), told, asked = ask(hub, tmp_path, "owner/par")
    assert again == par and not told and not [x for x in asked if "resolve" in x and "GET" in x]
    (again,), told, asked = ask(hub, tmp_path, "tiny_par", HF_HUB_OFFLINE="1")
    assert again == par and not told and not asked


def test_a_kept_model_that_was_damaged_is_converted_anew(hub, tmp_path):
    ((folder, names),), _, _ = ask(hub, tmp_path, "tiny_par")
    whole = (tmp_path / folder / "model.safetensors").read_bytes()
    for name, content in (("model.safetensors", whole[:-20]), ("config.json", None)):
        file = tmp_path / folder / name
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        (again,), told, _ = ask(hub, tmp_path, "tiny_par", HF_HUB_OFFLINE="1")
        assert again == [folder, names] and "converting PAR.pt and vq.pt once" in told
        assert (tmp_path / folder / "model.safetensors").read_bytes() == whole


def test_weights_in_several_files_are_fetched_whole(hub, tmp_path):
    (sharded, par), told, _ = ask(hub, tmp_path, "sharded_par", "tiny_par")
    assert "fetching owner/sharded/model.safetensors.index.json" in told
    one, other = (load_model_directory(tmp_path / folder) for folder, _ in (sharded, par))
    chex.assert_trees_all_equal(one.transformer, other.transformer)
    (again,), told, asked = ask(hub, tmp_path, "sharded_par", HF_HUB_OFFLINE="1")
    assert again == sharded and not told and not asked


def test_of_two_processes_one_converts_and_both_have_the_model(hub, tmp_path):
    with futures.ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: ask(hub, tmp_path, "tiny_par"), range(2)))
    (one,), (other,) = (outcomes for outcomes, _, _ in both)
    assert one == other and "config.json" in one[1]
    assert sum("converting PAR.pt and vq.pt once" in told for _, told, _ in both) == 1


def test_what_was_cut_off_goes_on(hub, tmp_path):
    server, _ = hub
    server.cuts = 1
    (outcome,), _, asked = ask(hub, tmp_path, "tiny_vq")
    assert outcome[1] == ["README.md", "config.json", "tokenizer.safetensors"]
    assert any("bytes=" in line for line in asked)  # from where it had come to


@pytest.mark.parametrize(
    ("name", "environment", "words"),
    [
        (
            "gone",
            {},
            ["got 'gone'", "by hand: download gone.pt of owner/gone and vq.pt of owner/vq"],
        ),
        ("gone", {"HF_HUB_OFFLINE": "1"}, ["HF_HUB_OFFLINE is set", "by hand"]),
        pytest.param(  # its client tries again and again
            *("gone", {"HF_ENDPOINT": "http://127.0.0.1:9"}, ["got 'gone'", "by hand"]),
            marks=pytest.mark.slow,
        ),
        ("owner/nothing", {}, ["got 'owner/nothing'", "cannot be fetched", "Repository Not Found"]),
        ("owner/gated", {}, ["got 'owner/gated'", "Cannot access gated repo", "Please log in"]),
        ("owner/private", {}, ["Repository Not Found", "private or gated", "authenticated"]),
        ("owner/forbidden", {}, ["403 Forbidden: your token lacks a permission", "Make sure your"]),
        ("other_vq", {}, ["SHA-256", "allowed is 0000"]),
    ],
)
def test_what_cannot_be_had_is_one_line_with_the_way_by_hand(
    hub, tmp_path, name, environment, words
):
    (outcome,), told, _ = ask(hub, tmp_path, name, **environment)
    assert outcome[0] == "UserError" and "\n" not in outcome[1]
    assert not [word for word in words if word not in outcome[1]], outcome[1]
    assert not (tmp_path / "cache" / "lpd_jax" / "models").exists()


def test_the_table_is_found_by_every_name():
    for name, entry in PUBLISHED.items():
        assert find_published(name) is entry
        assert entry.tokenizer in PUBLISHED or not entry.tokenizer
    assert find_published("mit-han-lab/lpd_l_256").name == "lpd_l_256"
    assert find_published("Epiphqny/PAR/PAR-3B-16x.pt").name == "par_3b_16x"
    assert find_published("FoundationVision/LlamaGen") is None
