"""The Inception-v3 that published Fréchet distances are measured with, and its resize.

It is the network of TensorFlow's release of 2015-12-05 as torch-fidelity 0.4.0 carries it on, not
the Inception-v3 of model zoos: averages leave padding out, the last block pools by maximum, and
pictures are resized without half-pixel centres. Modules have the official names, so that weights
find their place: Mixed_5b.branch1x1.conv.weight is Mixed_5b/branch1x1/conv/kernel.

Letters: B batch, H height, W width, C channels, S one axis of the resized image.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

IMAGE_SIZE = 299
FEATURE_DIM = 2048
SPATIAL_CHANNELS = 7  # of mixed_6/conv, as sFID has them (Nash et al. 2021)
SPATIAL_DIM = 17 * 17 * SPATIAL_CHANNELS
TAPS = (64, 192, 768, SPATIAL_DIM, FEATURE_DIM)  # where features are taken, by their number
NORM_EPSILON = 1e-3


class Norm(nn.Module):
    """Batch normalisation with the statistics of training."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        zeros, ones, shape = nn.initializers.zeros, nn.initializers.ones, x_BHWC.shape[-1:]
        weight_C, bias_C = self.param("weight", ones, shape), self.param("bias", zeros, shape)
        mean_C = self.param("running_mean", zeros, shape)
        variance_C = self.param("running_var", ones, shape)
        scale_C = weight_C / jnp.sqrt(variance_C + NORM_EPSILON)
        shift_C = bias_C - mean_C * scale_C
        return x_BHWC * scale_C[None, None, None] + shift_C[None, None, None]


class Conv(nn.Module):
    """Convolution, normalisation, ReLU. Windows are (height, width)."""

    channels: int
    window: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        x_BHWC = nn.Conv(
            self.channels,
            self.window,
            self.stride,
            self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,
            name="conv",
        )(x_BHWC)
        return nn.relu(Norm(name="bn")(x_BHWC))


def halve(name: str, channels: int, x_BHWC: jax.Array) -> jax.Array:
    """3x3 convolution to half the size, a border pixel short."""
    return Conv(channels, (3, 3), 2, "VALID", name=name)(x_BHWC)


def halve_by_maximum(x_BHWC: jax.Array) -> jax.Array:
    """3x3 maximum to half the size, a border pixel short."""
    return nn.max_pool(x_BHWC, (3, 3), (2, 2))


def average(x_BHWC: jax.Array) -> jax.Array:
    """3x3 average of the pixels there are: those of the padding do not count."""
    return nn.avg_pool(x_BHWC, (3, 3), padding="SAME", count_include_pad=False)


def maximum(x_BHWC: jax.Array) -> jax.Array:
    """3x3 maximum, size kept."""
    return nn.max_pool(x_BHWC, (3, 3), padding="SAME")


def concatenate(*branches: jax.Array) -> jax.Array:
    """Joins `[B, H, W, C]` along C."""
    return jnp.concatenate(branches, axis=-1)


class BlockA(nn.Module):
    """At 35x35: 1x1, 5x5, two 3x3, average."""

    pool_channels: int

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        five_BHWC = Conv(48, name="branch5x5_1")(x_BHWC)
        three_BHWC = Conv(64, name="branch3x3dbl_1")(x_BHWC)
        three_BHWC = Conv(96, (3, 3), name="branch3x3dbl_2")(three_BHWC)
        return concatenate(
            Conv(64, name="branch1x1")(x_BHWC),
            Conv(64, (5, 5), name="branch5x5_2")(five_BHWC),
            Conv(96, (3, 3), name="branch3x3dbl_3")(three_BHWC),
            Conv(self.pool_channels, name="branch_pool")(average(x_BHWC)),
        )


class BlockB(nn.Module):
    """35x35 to 17x17."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        three_BHWC = Conv(64, name="branch3x3dbl_1")(x_BHWC)
        three_BHWC = Conv(96, (3, 3), name="branch3x3dbl_2")(three_BHWC)
        return concatenate(
            halve("branch3x3", 384, x_BHWC),
            halve("branch3x3dbl_3", 96, three_BHWC),
            halve_by_maximum(x_BHWC),
        )


class BlockC(nn.Module):
    """At 17x17: 1x1, one and two 7x7 in rows and columns, average."""

    inner_channels: int

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        seven_BHWC = twice_BHWC = x_BHWC
        for i, window in enumerate([(1, 1), (1, 7)], 1):
            seven_BHWC = Conv(self.inner_channels, window, name=f"branch7x7_{i}")(seven_BHWC)
        for i, window in enumerate([(1, 1), (7, 1), (1, 7), (7, 1)], 1):
            twice_BHWC = Conv(self.inner_channels, window, name=f"branch7x7dbl_{i}")(twice_BHWC)
        return concatenate(
            Conv(192, name="branch1x1")(x_BHWC),
            Conv(192, (7, 1), name="branch7x7_3")(seven_BHWC),
            Conv(192, (1, 7), name="branch7x7dbl_5")(twice_BHWC),
            Conv(192, name="branch_pool")(average(x_BHWC)),
        )


class BlockD(nn.Module):
    """17x17 to 8x8."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        three_BHWC = Conv(192, name="branch3x3_1")(x_BHWC)
        seven_BHWC = x_BHWC
        for i, window in enumerate([(1, 1), (1, 7), (7, 1)], 1):
            seven_BHWC = Conv(192, window, name=f"branch7x7x3_{i}")(seven_BHWC)
        return concatenate(
            halve("branch3x3_2", 320, three_BHWC),
            halve("branch7x7x3_4", 192, seven_BHWC),
            halve_by_maximum(x_BHWC),
        )


class BlockE(nn.Module):
    """At 8x8: 1x1, 3x3 spread over a row and a column, the same after a 3x3, a pool."""

    pool_by_maximum: bool

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        pool = maximum if self.pool_by_maximum else average
        three_BHWC = Conv(384, name="branch3x3_1")(x_BHWC)
        twice_BHWC = Conv(448, name="branch3x3dbl_1")(x_BHWC)
        twice_BHWC = Conv(384, (3, 3), name="branch3x3dbl_2")(twice_BHWC)
        return concatenate(
            Conv(320, name="branch1x1")(x_BHWC),
            Conv(384, (1, 3), name="branch3x3_2a")(three_BHWC),
            Conv(384, (3, 1), name="branch3x3_2b")(three_BHWC),
            Conv(384, (1, 3), name="branch3x3dbl_3a")(twice_BHWC),
            Conv(384, (3, 1), name="branch3x3dbl_3b")(twice_BHWC),
            Conv(192, name="branch_pool")(pool(x_BHWC)),
        )


class InceptionV3(nn.Module):
    """All but the class head."""

    @nn.compact
    def __call__(self, resized_BHWC: jax.Array) -> dict[int, jax.Array]:
        """Floats 0 to 255 `[B, 299, 299, 3]` -> for each of TAPS its features `[B, tap]`."""
        x_BHWC, taps = (resized_BHWC - 128.0) / 128.0, {}
        x_BHWC = halve("Conv2d_1a_3x3", 32, x_BHWC)
        x_BHWC = Conv(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x_BHWC)
        x_BHWC = Conv(64, (3, 3), name="Conv2d_2b_3x3")(x_BHWC)
        x_BHWC = halve_by_maximum(x_BHWC)
        taps[64] = x_BHWC.mean(axis=(1, 2))
        x_BHWC = Conv(80, name="Conv2d_3b_1x1")(x_BHWC)
        x_BHWC = Conv(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x_BHWC)
        x_BHWC = halve_by_maximum(x_BHWC)
        taps[192] = x_BHWC.mean(axis=(1, 2))
        for letter, channels in zip("bcd", (32, 64, 64), strict=True):
            x_BHWC = BlockA(channels, name=f"Mixed_5{letter}")(x_BHWC)
        x_BHWC = BlockB(name="Mixed_6a")(x_BHWC)
        for letter, channels in zip("bcde", (128, 160, 160, 192), strict=True):
            x_BHWC = BlockC(channels, name=f"Mixed_6{letter}")(x_BHWC)
            if letter == "d":  # TensorFlow's mixed_6, whose first channels are branch1x1, its conv
                taps[SPATIAL_DIM] = x_BHWC[..., :SPATIAL_CHANNELS].reshape(len(x_BHWC), -1)
        taps[768] = x_BHWC.mean(axis=(1, 2))
        x_BHWC = BlockD(name="Mixed_7a")(x_BHWC)
        x_BHWC = BlockE(pool_by_maximum=False, name="Mixed_7b")(x_BHWC)
        x_BHWC = BlockE(pool_by_maximum=True, name="Mixed_7c")(x_BHWC)
        return taps | {FEATURE_DIM: x_BHWC.mean(axis=(1, 2))}


def resize(images_BHWC: jax.Array | np.ndarray, size: int = IMAGE_SIZE) -> jax.Array:
    """`[B, H, W, C]` -> float32 `[B, size, size, C]` in the same range, as TensorFlow 1 resized.

    Bilinear, without half-pixel centres: output i lies at i * length / size, 2 pixels to 4 at
    0 0.5 1 1.5, where 1.5 is beyond the last and reads as 1. Not to be jitted: a fused
    multiply-add rounds once where TensorFlow rounds twice.
    """
    x_BHWC = jnp.asarray(images_BHWC).astype(jnp.float32)
    for axis, other_axes in ((2, (0, 1, 3)), (1, (0, 2, 3))):
        last = x_BHWC.shape[axis] - 1
        source_S = np.arange(size, dtype=np.float32) * np.float32((last + 1) / size)
        low_S = np.minimum(source_S.astype(np.int32), last)
        weight_BHWC = np.expand_dims(source_S - low_S.astype(np.float32), other_axes)
        low_BHWC = jnp.take(x_BHWC, low_S, axis)
        high_BHWC = jnp.take(x_BHWC, np.minimum(low_S + 1, last), axis)
        x_BHWC = low_BHWC + (high_BHWC - low_BHWC) * weight_BHWC
    return x_BHWC
