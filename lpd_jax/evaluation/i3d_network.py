"""The Inception-I3D of Kinetics-400 that published Fréchet video distances are measured with.

Carreira and Zisserman, 2017 (arXiv 1705.07750), as VideoGPT, TATS and NBP carry it on in PyTorch:
batch normalisation of epsilon 1e-5, no dropout, features before the softmax. Modules have the
official names: Mixed_3b.b0.conv3d.weight is Mixed_3b/b0/conv3d/kernel.

Letters: B clips, T frames, H height, W width, C channels.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

FRAME_SIZE = 224
NUM_CLASSES = 400  # of Kinetics; their logits are the features
FEWEST_FRAMES = 10
NORM_EPSILON = 1e-5  # 1e-3 in the original; published distances are of the ports
EXACT = jax.lax.Precision.HIGHEST
WHOLE, SHORT_SIDE = WAYS = ("whole", "short_side")

# 1x1; 1x1 then 3x3; 1x1 then 3x3; 1x1 after the pool
MIXED = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


class Norm(nn.Module):
    """Batch normalisation with the statistics of training."""

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        zeros, ones, shape = nn.initializers.zeros, nn.initializers.ones, x_BTHWC.shape[-1:]
        weight_C, bias_C = self.param("weight", ones, shape), self.param("bias", zeros, shape)
        mean_C = self.param("running_mean", zeros, shape)
        variance_C = self.param("running_var", ones, shape)
        scale_C = weight_C / jnp.sqrt(variance_C + NORM_EPSILON)
        shift_C = bias_C - mean_C * scale_C
        return x_BTHWC * scale_C[None, None, None, None] + shift_C[None, None, None, None]


class Conv(nn.Module):
    """Convolution, normalisation, ReLU; cubic windows, the larger half of the padding behind."""

    channels: int
    window: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        x_BTHWC = nn.Conv(
            self.channels,
            (self.window,) * 3,
            self.stride,
            "SAME",
            use_bias=False,
            precision=EXACT,
            name="conv3d",
        )(x_BTHWC)
        return nn.relu(Norm(name="bn")(x_BTHWC))


class Mixed(nn.Module):
    """Four branches beside each other; the third is 3x3x3 too, not 5x5x5 as in pictures."""

    channels: tuple[int, tuple[int, int], tuple[int, int], int]

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        one, (inner, three), (inner_again, three_again), pooled = self.channels
        return jnp.concatenate(
            [
                Conv(one, name="b0")(x_BTHWC),
                Conv(three, 3, name="b1b")(Conv(inner, name="b1a")(x_BTHWC)),
                Conv(three_again, 3, name="b2b")(Conv(inner_again, name="b2a")(x_BTHWC)),
                Conv(pooled, name="b3b")(pool(x_BTHWC, (3, 3, 3), (1, 1, 1))),
            ],
            axis=-1,
        )


def pool(x_BTHWC: jax.Array, window: tuple[int, ...], strides: tuple[int, ...]) -> jax.Array:
    """Maxima; nothing below 0 comes in, so that padding with 0, as released, changes nothing."""
    return nn.max_pool(x_BTHWC, window, strides, "SAME")


class InceptionI3D(nn.Module):
    """The network up to the logits."""

    @nn.compact
    def __call__(self, clips_BTHWC: jax.Array) -> dict[str, jax.Array]:
        """Floats in [-1, 1] `[B, T, 224, 224, 3]`, T >= 10 -> the output of every block, by name.

        "logits" is `[B, 400]`, their mean over time; "avg_pool" `[B, t, 1, 1, 1024]`.
        """
        x_BTHWC, seen = clips_BTHWC, {}

        def then(name: str, output_BTHWC: jax.Array) -> jax.Array:
            seen[name] = output_BTHWC
            return output_BTHWC

        def mixed(letters: str, x_BTHWC: jax.Array) -> jax.Array:
            for letter in letters.split():
                name = f"Mixed_{letter}"
                x_BTHWC = then(name, Mixed(MIXED[letter], name=name)(x_BTHWC))
            return x_BTHWC

        def conv(name: str, x_BTHWC: jax.Array, *sizes: int) -> jax.Array:
            return then(name, Conv(*sizes, name=name)(x_BTHWC))

        x_BTHWC = conv("Conv3d_1a_7x7", x_BTHWC, 64, 7, 2)
        x_BTHWC = then("MaxPool3d_2a_3x3", pool(x_BTHWC, (1, 3, 3), (1, 2, 2)))
        x_BTHWC = conv("Conv3d_2b_1x1", x_BTHWC, 64)
        x_BTHWC = conv("Conv3d_2c_3x3", x_BTHWC, 192, 3)
        x_BTHWC = then("MaxPool3d_3a_3x3", pool(x_BTHWC, (1, 3, 3), (1, 2, 2)))
        x_BTHWC = mixed("3b 3c", x_BTHWC)
        x_BTHWC = then("MaxPool3d_4a_3x3", pool(x_BTHWC, (3, 3, 3), (2, 2, 2)))
        x_BTHWC = mixed("4b 4c 4d 4e 4f", x_BTHWC)
        x_BTHWC = then("MaxPool3d_5a_2x2", pool(x_BTHWC, (2, 2, 2), (2, 2, 2)))
        x_BTHWC = mixed("5b 5c", x_BTHWC)
        x_BTHWC = then("avg_pool", nn.avg_pool(x_BTHWC, (2, 7, 7)))
        x_BTHWC = Head(name="logits")(x_BTHWC)
        return seen | {"logits": x_BTHWC.mean((1, 2, 3))}


class Head(nn.Module):
    """The classes of Kinetics."""

    @nn.compact
    def __call__(self, x_BTHWC: jax.Array) -> jax.Array:
        return nn.Conv(NUM_CLASSES, (1, 1, 1), precision=EXACT, name="conv3d")(x_BTHWC)


def resize_frames(clips_BTHWC: jax.Array | np.ndarray, way: str = WHOLE) -> jax.Array:
    """uint8 `[B, T, H, W, 3]` -> float32 in [-1, 1] `[B, T, 224, 224, 3]`.

    Bilinear, half-pixel centres, no antialiasing. "whole" squeezes the frame into the square, as
    TATS does; "short_side" cuts the middle out of the frame whose short side has 224 pixels, as
    VideoGPT does. Of square frames both are one.
    """
    x_BTHWC = jnp.asarray(clips_BTHWC).astype(jnp.float32)
    batch, frames, height, width, channels = x_BTHWC.shape
    sides: tuple[int, ...] = (FRAME_SIZE, FRAME_SIZE)
    if way == SHORT_SIDE:
        scale = FRAME_SIZE / min(height, width)
        # The short side is exact by name: its product may round to a pixel more.
        sides = tuple(
            FRAME_SIZE if side == min(height, width) else math.ceil(side * scale)
            for side in (height, width)
        )
    shape = (batch, frames, *sides, channels)
    x_BTHWC = jax.image.resize(x_BTHWC, shape, "linear", antialias=False, precision=EXACT)
    top, left = ((side - FRAME_SIZE) // 2 for side in sides)
    x_BTHWC = x_BTHWC[:, :, top : top + FRAME_SIZE, left : left + FRAME_SIZE]
    return x_BTHWC / 127.5 - 1.0
