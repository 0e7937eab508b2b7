"""The network gives the reference's features from seeded weights; bad files and pictures say why.

The golden arrays were made by torch-fidelity 0.4.0 on CPU; only a mistake of theirs changes them.
"""

import pathlib

import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.evaluation import inception as inceptions
from lpd_jax.evaluation import inception_network
from tests import torch_writer
from tests.evaluation.seeded_weights import seeded_state_dict

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
IMAGES = ("img64", "img256", "img299")
# The largest deviation measured on CPU is 2.6e-6 for features and 3.3e-6 for logits, of values up
# to 6: float32 sums in another order. Averages that count the padding are off by 0.3.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def golden():
    """Arrays by name; images channels last."""
    with np.load(GOLDEN / "inception_seeded.npz") as file:
        return {
            name: array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
            for name, array in file.items()
        }


@pytest.fixture(scope="module")
def state_dict():
    """The weights that the golden arrays were made with, by the recipe in the file of names."""
    return seeded_state_dict(GOLDEN / "inception_names.txt", "fc.weight", 0.03)


@pytest.fixture(scope="module")
def inception(state_dict, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch_writer.write_zip(path, state_dict)
    return inceptions.load_inception(path, batch_size=2)


@pytest.mark.parametrize("name", IMAGES)
def test_resize_is_that_of_tensorflow_1_to_the_last_bit(golden, name):
    resized = np.asarray(inception_network.resize(golden[f"{name}/input"]))
    assert resized.dtype == np.float32 and resized.shape[1:] == (299, 299, 3)
    np.testing.assert_array_equal(resized[:, ::13, ::13], golden[f"{name}/resized_every13"])


def test_resize_has_no_half_pixel_centres_and_stops_at_the_border():
    image = np.array([[0, 10], [40, 50]], np.uint8)[None, :, :, None]
    resized = np.asarray(inception_network.resize(image, 4))[0, :, :, 0]
    np.testing.assert_array_equal(resized[0], [0, 5, 10, 10])
    np.testing.assert_array_equal(resized[:, 0], [0, 20, 40, 40])
    wide = np.asarray(inception_network.resize(image[:, :1], 4))[0, :, :, 0]  # sides differ
    np.testing.assert_array_equal(wide, np.broadcast_to([[0.0, 5, 10, 10]], (4, 4)))


@pytest.mark.parametrize("name", IMAGES)  # two images fill the batch, one is padded
def test_features_and_logits_are_those_of_the_reference(inception, golden, name):
    taps = inception.taps(golden[f"{name}/input"])
    for tap in (64, 192, 768, inception_network.FEATURE_DIM):
        np.testing.assert_allclose(taps[tap], golden[f"{name}/{tap}"], rtol=0, atol=TOLERANCE)
    logits = inception.logits(taps[inception_network.FEATURE_DIM])
    np.testing.assert_allclose(logits, golden[f"{name}/logits_unbiased"], rtol=0, atol=TOLERANCE)
    biased = logits + np.asarray(inception.params["fc"]["bias"])[None]
    np.testing.assert_allclose(biased, golden[f"{name}/logits"], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_spatial_features_are_the_first_channels_of_the_first_branch(inception, golden):
    """The golden file has none; but its features of 768 go through this block."""
    images = golden["img64/input"]
    _, seen = inception_network.InceptionV3().apply(
        {"params": inception.params},
        inception_network.resize(images),
        capture_intermediates=lambda module, _: module.name == "branch1x1",
    )
    (branch_BHWC,) = seen["intermediates"]["Mixed_6d"]["branch1x1"]["__call__"]
    assert branch_BHWC.shape == (2, 17, 17, 192)
    got = inception.taps(images)[inception_network.SPATIAL_DIM]
    want = np.asarray(branch_BHWC[..., :7]).reshape(2, 2023)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)
    assert got.std() > 0.1


def test_features_do_not_depend_on_the_batch_and_compile_once(inception, golden):
    images = golden["img64/input"][[0, 1, 0]]
    features = inception.features(images)
    num_compilations = inceptions._taps._cache_size()
    assert features.shape == (3, inception_network.FEATURE_DIM) and features.dtype == np.float32
    np.testing.assert_allclose(features[2], features[0], rtol=0, atol=TOLERANCE)
    alone = inception.features(images[1:2, :, :48])  # of another size, and padded
    assert np.abs(alone[0] - features[1]).max() > 0.01
    np.testing.assert_allclose(inception.features(images[1:2])[0], features[1], atol=TOLERANCE)
    assert inception.features(images[:0]).shape == (0, inception_network.FEATURE_DIM)
    assert inceptions._taps._cache_size() == num_compilations


def test_both_kinds_of_file_hold_the_same_weights(inception, state_dict, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights = {name: x for name, x in state_dict.items() if "num_batches_tracked" not in name}
    safetensors.numpy.save_file(weights, path)
    assert inceptions.load_inception(path).digest == inception.digest
    changed = weights | {"fc.bias": weights["fc.bias"] + 1}
    other = inceptions.Inception(inceptions.inception_from_torch(changed))
    assert other.digest != inception.digest


def test_weights_of_another_network_are_all_named(state_dict):
    """Model zoos' Inception has these names too, but 1000 classes and a second head."""
    zoo = dict(state_dict)
    del zoo["Mixed_7c.branch_pool.bn.running_var"]
    zoo["AuxLogits.fc.bias"] = np.zeros(1000, np.float32)
    zoo["fc.weight"] = np.zeros((1000, 2048), np.float32)
    zoo["fc.bias"] = np.zeros(1008, np.int64)
    with pytest.raises(ValueError) as caught:
        inceptions.inception_from_torch(zoo)
    first, *problems = str(caught.value).splitlines()
    assert first == "the checkpoint does not fit the model:"
    assert [problem.strip() for problem in problems] == [
        "fc.bias: got int64 values, allowed are floats",
        "fc.weight: got shape (1000, 2048), allowed is (1008, 2048)",
        "missing Mixed_7c.branch_pool.bn.running_var",
        "unexpected AuxLogits.fc.bias",
    ]


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "few.safetensors"
    safetensors.numpy.save_file({"fc.bias": np.zeros(1008, np.float32)}, path)
    with pytest.raises(
        ValueError, match=r"checkpoint: .*few.safetensors': the checkpoint does not"
    ):
        inceptions.load_inception(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"checkpoint: .*few.safetensors.*truncated"):
        inceptions.load_inception(path)
    with pytest.raises(FileNotFoundError, match="checkpoint .*missing.pth is not there"):
        inceptions.load_inception(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 8, 8, 3), np.float32), ((1, 3, 8, 8), np.uint8), ((8, 8, 3), np.uint8)]
    + [((1, 0, 8, 3), np.uint8)],
)
def test_other_pictures_are_refused(shape, dtype):
    kind = np.dtype(dtype).name
    with pytest.raises(ValueError, match=rf"images: got {kind} \({shape[0]}, .*allowed is uint8"):
        inceptions.Inception({}).features(np.zeros(shape, dtype))


def test_empty_batches_are_refused():
    with pytest.raises(ValueError, match="batch_size: got 0, allowed are whole numbers from 1"):
        inceptions.Inception({}, batch_size=0)
