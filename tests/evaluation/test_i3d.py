"""I3D gives the reference's features from seeded weights; bad files and clips say why.

The golden arrays were made by common_metrics_on_video_quality on CPU; only a mistake of theirs
changes them.
"""

import functools
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.evaluation import i3d
from lpd_jax.evaluation.i3d_network import InceptionI3D, resize_frames
from lpd_jax.weights.from_torch import networks
from tests import torch_writer
from tests.evaluation.seeded_weights import seeded_state_dict

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
GOLDEN = dict(np.load(FOLDER / "i3d_seeded.npz"))
# The largest deviation measured on CPU is 1.3e-6 of the largest value, and 3.4e-6 of the logits,
# of values around 1.7. Padding at the other end is off by 0.8, an epsilon of 1e-3 by 0.035.
TOLERANCE = 2e-5


@functools.cache
def state_dict():
    """The weights that the golden arrays were made with, by the recipe in the file of names."""
    return seeded_state_dict(FOLDER / "i3d_names.txt", "logits", 0.05)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "i3d_pretrained_400.pt"
    torch_writer.write_zip(path, state_dict())
    return i3d.load_i3d(path, batch_size=2)


def check_sampled(name, output_BTHWC, tolerance):
    """Against every so many values of the official layout."""
    official = np.moveaxis(np.asarray(output_BTHWC), -1, 1)
    assert official.shape == tuple(GOLDEN[f"{name}_shape"])
    want = GOLDEN[name]
    got = official.ravel()[:: GOLDEN[f"{name}_stride"]]
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize(("way", "name"), [("whole", "whole"), ("short_side", "short_side_crop")])
def test_frames_come_to_the_network_as_tats_and_videogpt_have_it(way, name):
    check_sampled(f"prep/{name}", resize_frames(GOLDEN["prep/input"][None], way), 1e-6)


def test_all_weights_of_the_public_file_are_used(network):
    trained = [name for name in state_dict() if "running" not in name and "tracked" not in name]
    assert sum(state_dict()[name].size for name in trained) == GOLDEN["meta/n_params"]
    counted = sum(name.endswith(networks.COUNTER) for name in state_dict())
    assert len(jax.tree.leaves(network.params)) == len(state_dict()) - counted
    kernel = network.params["Mixed_4e"]["b2b"]["conv3d"]["kernel"]
    want = state_dict()["Mixed_4e.b2b.conv3d.weight"].transpose(2, 3, 4, 1, 0)
    np.testing.assert_array_equal(kernel, want)


@pytest.mark.slow  # ten seconds of compilation, eight a clip
def test_every_block_is_that_of_the_reference(network):
    clips_BTHWC = resize_frames(GOLDEN["t16/input"][None])
    check_sampled("t16/resized", clips_BTHWC, 1e-6)
    blocks = jax.jit(lambda x: InceptionI3D().apply({"params": network.params}, x))(clips_BTHWC)
    logits_BF = blocks.pop("logits")
    np.testing.assert_allclose(logits_BF, GOLDEN["t16/logits"], rtol=0, atol=TOLERANCE)
    pooled = np.moveaxis(np.asarray(blocks.pop("avg_pool")), -1, 1)
    np.testing.assert_allclose(pooled, GOLDEN["t16/avg_pool"], rtol=0, atol=TOLERANCE)
    assert len(blocks) == 16
    for name, output_BTHWC in blocks.items():
        check_sampled(f"t16/{name}", output_BTHWC, 5e-6)
        means_C = np.asarray(output_BTHWC).mean((0, 1, 2, 3))
        np.testing.assert_allclose(means_C, GOLDEN[f"t16/{name}_channel_mean"], atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [10, 17])
def test_clips_of_other_lengths_are_seen_whole_where_asked_for(network, frames):
    alone = i3d.I3D(network.params, batch_size=1, num_frames=17)
    features_BF = alone.features(GOLDEN[f"t{frames}/input"][None])
    want = GOLDEN[f"t{frames}/logits"]
    np.testing.assert_allclose(features_BF, want, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_of_17_frames_the_first_16_count_whatever_the_batch(network):
    clips_BTHWC = np.stack([GOLDEN["t17/input"]] * 3)
    clips_BTHWC[:, :16] = GOLDEN["t16/input"]
    clips_BTHWC[1] = 0
    features_BF = network.features(clips_BTHWC)  # in two batches
    assert features_BF.shape == (3, 400) and features_BF.dtype == np.float32
    for row in (0, 2):
        want = GOLDEN["t16/logits"][0]
        np.testing.assert_allclose(features_BF[row], want, rtol=0, atol=TOLERANCE)
    assert np.abs(features_BF[1] - features_BF[0]).max() > 0.5


def test_no_clips_have_no_features(network):
    assert network.features(np.zeros((0, 16, 8, 8, 3), np.uint8)).shape == (0, 400)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 16, 8, 8, 3), np.float32), ((1, 9, 8, 8, 3), np.uint8), ((16, 8, 8, 3), np.uint8)]
    + [((1, 16, 0, 8, 3), np.uint8), ((1, 3, 16, 8, 8), np.uint8)],
)
def test_other_clips_are_refused(shape, dtype):
    kind = np.dtype(dtype).name
    message = rf"^clips: got {kind} \({shape[0]}, .*allowed is uint8 .* of 10 frames and more"
    with pytest.raises(ValueError, match=message):
        i3d.I3D({}).features(np.zeros(shape, dtype))


def test_weights_of_another_network_are_all_named(tmp_path):
    other = dict(state_dict())
    del other["Mixed_3b.b2b.conv3d.weight"]
    other["logits.conv3d.weight"] = np.zeros((600, 1024, 1, 1, 1), np.float32)
    other = {name: x for name, x in other.items() if "tracked" not in name}
    path = tmp_path / "i3d.safetensors"
    safetensors.numpy.save_file(other, path)
    with pytest.raises(ValueError, match=r"checkpoint: .*i3d.safetensors': the") as caught:
        i3d.load_i3d(path)
    first, *problems = str(caught.value).splitlines()
    assert [problem.strip() for problem in problems] == [
        "logits.conv3d.weight: got shape (600, 1024, 1, 1, 1), allowed is (400, 1024, 1, 1, 1)",
        "missing Mixed_3b.b2b.conv3d.weight",
    ]
    with pytest.raises(ValueError, match="^network: got 'nowhere/i3d.pt', which is no file"):
        (tmp_path / "nowhere").mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            with i3d.find_i3d("nowhere/i3d.pt"):
                pass


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"num_frames": 9}, "num_frames: got 9"),
        ({"resize": "crop"}, "resize: got 'crop', allowed are whole"),
    ],
)
def test_wrong_choices_are_named(choices, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        i3d.I3D({}, **choices)
