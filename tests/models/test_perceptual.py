"""LPIPS gives the released code's numbers; the other distance behaves as one, and is cheap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpd_jax.models.efficientnet_lite import EfficientNetLite0
from lpd_jax.models.perceptual import (
    SCALE,
    SHIFT,
    efficientnet_distance,
    lpips,
    resize_short_side,
    unit_vectors,
)
from lpd_jax.models.vgg import VGG16
from tests import vqgan_golden


@pytest.fixture(scope="module")
def golden():
    return vqgan_golden.load()


@pytest.fixture(scope="module")
def pictures(golden):
    return [jnp.asarray(vqgan_golden.channels_last(golden[name])) for name in ("input", "recon")]


def close(value, wanted, tolerance):
    """Relative to the largest number that is wanted."""
    scale = float(np.abs(wanted).max())
    np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * scale)


def test_lpips_is_that_of_the_released_code(golden, pictures):
    params = vqgan_golden.lpips_params(golden)
    real, drawn = pictures

    def mean(images, real, params):
        value = lpips(params, real, images)
        return value.mean(), value

    step = jax.jit(jax.value_and_grad(mean, has_aux=True))
    (_, value), gradient = step(drawn, real, params)  # constants would be folded, for minutes
    close(value, golden["lpips/value"], 1e-5)
    wanted = vqgan_golden.channels_last(golden["lpips/grad_recon"])
    close(gradient, wanted, 1e-4)


def test_lpips_of_every_depth_is_that_of_the_released_code(golden, pictures):
    params = vqgan_golden.lpips_params(golden)
    shift, scale = (np.float32(x)[None, None, None] for x in (SHIFT, SCALE))
    run = jax.jit(lambda params, x: VGG16().apply({"params": params}, (x - shift) / scale))
    first, second = (run(params["vgg"], images) for images in pictures)
    scaled = (pictures[1] - shift) / scale
    close(scaled.mean(axis=(1, 2)), golden["lpips/scaled_recon_mean"], 1e-5)
    for i, (x, y) in enumerate(zip(first, second, strict=True)):
        name = f"lpips/tap{i}"
        close(vqgan_golden.sampled(y, golden, name), golden[name], 1e-5)
        units = [unit_vectors(tap, 0.0, 1e-10) for tap in (x, y)]
        squared_BC = np.square(units[0] - units[1]).mean(axis=(1, 2))
        close(squared_BC, golden[f"lpips/normdiff{i}"], 2e-5)
        weights_C = params["channel_weights"][f"tap_{i}"]
        close((squared_BC * weights_C).sum(axis=1), golden[f"lpips/layer{i}"], 1e-5)


def test_places_without_any_feature_have_no_gradient_and_no_distance():
    """In the released code it is not a number."""
    x = jnp.zeros((1, 2, 1, 3)).at[0, 1].set(jnp.array([3.0, 0.0, 4.0]))
    np.testing.assert_allclose(unit_vectors(x, 0.0, 1e-10)[0, :, 0], [[0, 0, 0], [0.6, 0, 0.8]])
    gradient = jax.grad(lambda x: jnp.square(unit_vectors(x, 0.0, 1e-10) - 0.5).sum())(x)
    assert not gradient[0, 0].any() and gradient[0, 1].any() and np.isfinite(gradient).all()


@pytest.fixture(scope="module")
def params():
    """Random weights: what is tested here holds for any."""
    network = EfficientNetLite0()
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    generator = np.random.default_rng(0)

    def draw(leaf):
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.1
        return (generator.standard_normal(leaf.shape) * scale).astype(np.float32)

    return jax.tree.map(draw, shapes)


def test_equal_pictures_are_at_no_distance_and_others_at_more_the_more_they_differ(params):
    generator = np.random.default_rng(1)
    images = generator.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    noise = generator.standard_normal(images.shape).astype(np.float32)
    distance = jax.jit(lambda other: efficientnet_distance(params, images, other, num_stages=2))
    same, near, far = (distance(images + scale * noise) for scale in (0.0, 0.01, 0.1))
    np.testing.assert_allclose(same, [0, 0], atol=1e-9)  # compiled twice, rounded otherwise
    assert (near > 0).all() and (far > 4 * near).all() and (far < 8).all()
    swapped = efficientnet_distance(params, images + 0.1 * noise, images, num_stages=2)
    np.testing.assert_allclose(swapped, far, rtol=1e-4)
    alone = distance(np.concatenate([images[:1], images[1:] + 0.1 * noise[1:]]))
    np.testing.assert_allclose(alone, [0, far[1]], rtol=1e-4, atol=1e-7)  # pairs do not mix


def test_the_distance_of_more_stages_adds_those_of_each(params):
    """And bfloat16 is near, for the squares are float32."""
    generator = np.random.default_rng(2)
    images, others = generator.uniform(-1, 1, (2, 1, 32, 32, 3)).astype(np.float32)
    distances = [
        efficientnet_distance(params, images, others, num_stages=stages) for stages in (1, 2)
    ]
    outputs = [
        EfficientNetLite0(2, head=False).apply({"params": params}, x) for x in (images, others)
    ]
    assert [outputs[0][f"stage_{i}"].shape for i in (1, 2)] == [(1, 16, 16, 16), (1, 8, 8, 24)]
    by_hand = []
    for name in ("stage_1", "stage_2"):
        units = [
            x[name] / np.sqrt(np.square(x[name]).sum(-1, keepdims=True) + 1e-6) for x in outputs
        ]
        by_hand.append(np.square(units[0] - units[1]).sum(-1).mean())
    np.testing.assert_allclose(np.ravel(distances), np.cumsum(by_hand), rtol=1e-4)
    rough = efficientnet_distance(params, images, others, num_stages=2, dtype=jnp.bfloat16)
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, distances[1], rtol=0.05)


def test_a_picture_descends_towards_another(params):
    """Steps along the gradient, of one picture alone, make the distance fall."""
    generator = np.random.default_rng(3)
    images, others = generator.uniform(-1, 1, (2, 1, 32, 32, 3)).astype(np.float32)

    @jax.jit
    def step(others):
        value, gradient = jax.value_and_grad(
            lambda x: efficientnet_distance(params, images, x, num_stages=1).sum()
        )(others)
        return others - 0.02 * jnp.sign(gradient), value

    values = []
    for _ in range(8):
        others, value = step(others)
        values.append(float(value))
    assert values[-1] < 0.8 * values[0], values


def test_pictures_are_resized_to_a_short_side():
    images = jnp.arange(2 * 8 * 4 * 3, dtype=jnp.float32).reshape(2, 8, 4, 3)
    assert resize_short_side(images, None) is images and resize_short_side(images, 4) is images
    large = resize_short_side(images, 8)
    assert large.shape == (2, 16, 8, 3)
    np.testing.assert_allclose(large.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(
        large[:, 7, 3],
        (9 * images[:, 3, 1] + 3 * (images[:, 4, 1] + images[:, 3, 2]) + images[:, 4, 2]) / 16,
        rtol=1e-5,
    )
