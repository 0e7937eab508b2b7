"""PatchGAN: tells real pictures from drawn ones, patch by patch (Isola et al., arXiv 1611.07004).

Convolutions of 4x4 halve the picture `num_layers` times; each number that leaves the last one
judges a patch (70 pixels wide with three layers). LlamaGen and taming train their tokenizers
against it.

    network = PatchDiscriminator(DiscriminatorConfig())
    variables = init_discriminator(DiscriminatorConfig(), key)
    logits, updated = network.apply(variables, images_BHWC, train=True, mutable=["batch_stats"])
    variables = {"params": variables["params"], **updated}

The batch norms' running statistics are the Flax collection "batch_stats". Under jit with a sharded
batch their means are over the whole batch, on all devices. Released trainers normalise real and
drawn pictures in two calls, each with its own statistics; so do the same.

Letters: B batch, [T,] H, W frames, height, width, C channels.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.runtime.arguments import check_choice, check_whole

NORMS = ("batch", "group", "none")
MOST_GROUPS = 32
PADDING = 1  # on either side of each axis
WIDEST = 8  # times the channels of the first convolution
SLOPE = 0.2  # of the leaky ReLU
EPSILON = 1e-5
MOMENTUM = 0.1  # share of the new in running statistics, as PyTorch says it
kernel_init = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes and normalisation.

    Attributes:
        channels: of the first convolution; each further one has twice as many, up to 8 times.
        num_layers: how often the picture is halved.
        norm: after all convolutions but the first and the last: "batch", "group" or "none".
        spectral_norm: divides each kernel by its largest singular value (arXiv 1802.05957).
        frames: judge clips `[B, T, H, W, 3]` with convolutions of 3x3x3 (Open-MAGVIT2's); without
            it each frame of a clip is judged by itself, as a picture (VidTok's).
    """

    channels: int = 64
    num_layers: int = 3
    norm: str = "batch"
    spectral_norm: bool = False
    frames: bool = False

    def __post_init__(self) -> None:
        check_whole("discriminator.channels", self.channels, 1)
        check_whole("discriminator.num_layers", self.num_layers, 1, 6)
        check_choice("discriminator.norm", self.norm, NORMS)

    def strides(self) -> Sequence[tuple[int, ...]]:
        """Of each convolution, the last included; of time only the first two halve."""
        if not self.frames:
            return [(2, 2)] * self.num_layers + [(1, 1)] * 2
        halving = [(2 if i < 2 else 1, 2, 2) for i in range(self.num_layers)]
        return halving + [(1, 1, 1)] * 2

    @property
    def window(self) -> tuple[int, ...]:
        """Of each convolution."""
        return (3, 3, 3) if self.frames else (4, 4)

    def patches(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many patches are judged along each axis of an image, below 1 where none is.

        Args:
            size: (height, width) in pixels, or (frames, height, width).
        """
        axes = len(self.window)
        patches = np.array(size[-axes:])
        for strides in self.strides():
            patches = (patches + 2 * PADDING - np.array(self.window)) // np.array(strides) + 1
        return (*size[:-axes], *patches.tolist())

    def widths(self) -> list[int]:
        """Channels that each convolution but the last gives."""
        return [self.channels * min(2**i, WIDEST) for i in range(self.num_layers + 1)]


class BatchNorm(nn.Module):
    """Batch normalisation as PyTorch's: the running variance is unbiased. Computes in float32."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """`[B, ..., C]` by its own statistics, which move the running ones, or by those."""
        channels, axes = x.shape[-1:], tuple(range(x.ndim - 1))
        scale_C = self.param("scale", _around_one, channels)
        bias_C = self.param("bias", nn.initializers.zeros_init(), channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        numbers = x.astype(jnp.float32)
        if train:
            mean_C = numbers.mean(axes)
            centred = numbers - _along_last(mean_C, x.ndim)
            var_C = jnp.square(centred).mean(axes)
            if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
                count = x.size // x.shape[-1]
                unbiased_C = var_C * (count / max(count - 1, 1))
                running_mean.value += MOMENTUM * (mean_C - running_mean.value)
                running_var.value += MOMENTUM * (unbiased_C - running_var.value)
        else:
            centred, var_C = numbers - _along_last(running_mean.value, x.ndim), running_var.value
        factor_C = scale_C.astype(jnp.float32) * jax.lax.rsqrt(var_C + EPSILON)
        y = centred * _along_last(factor_C, x.ndim)
        return (y + _along_last(bias_C.astype(jnp.float32), x.ndim)).astype(x.dtype)


class PatchDiscriminator(nn.Module):
    """Pictures to one logit a patch; positive means real."""

    config: DiscriminatorConfig
    dtype: Any = jnp.float32  # convolutions compute in it; norms and logits are float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Floats in [-1, 1] `[B, H, W, 3]` -> logits, float32 `[B, H', W', 1]`.

        With three layers the sides are H / 8 - 2; clips `[B, T, H, W, 3]` give
        `[B, T', H', W', 1]`, T' = T where frames are judged by themselves.

        Args:
            train: normalise by the batch and, where "batch_stats" is mutable, note its statistics.
        """
        config = self.config
        *inner, last = config.strides()
        x = images.astype(self.dtype)
        for i, (strides, channels) in enumerate(zip(inner, config.widths(), strict=True)):
            normed = i > 0 and config.norm != "none"
            use_bias = not (normed and config.norm == "batch")  # whose own bias does as well
            x = self._convolve(f"conv_{i}", channels, strides, use_bias, x, train)
            if normed:
                x = self._normalise(f"norm_{i}", x, train)
            x = nn.leaky_relu(x, SLOPE)
        x = self._convolve(f"conv_{len(inner)}", 1, last, True, x, train)
        return x.astype(jnp.float32)

    def _convolve(
        self,
        name: str,
        channels: int,
        strides: tuple[int, ...],
        use_bias: bool,
        x: jax.Array,
        train: bool,
    ) -> jax.Array:
        convolution = nn.Conv(
            channels,
            self.config.window,
            strides,
            padding=PADDING,
            use_bias=use_bias,
            dtype=self.dtype,
            kernel_init=kernel_init,
            name=name,
        )
        if not self.config.spectral_norm:
            return convolution(x)
        return nn.SpectralNorm(convolution, name=f"spectral_{name}")(x, update_stats=train)

    def _normalise(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        if self.config.norm == "batch":
            return BatchNorm(name=name)(x, train)
        groups = min(MOST_GROUPS, x.shape[-1])
        while x.shape[-1] % groups:
            groups -= 1
        return nn.GroupNorm(groups, epsilon=EPSILON, dtype=jnp.float32, name=name)(x).astype(
            x.dtype
        )


def init_discriminator(config: DiscriminatorConfig, key: jax.Array) -> dict[str, Any]:
    """{"params": ..., "batch_stats": ...}; the latter is {} where nothing keeps statistics.

    Kernels are N(0, 0.02), scales of batch norms N(1, 0.02), biases 0.
    """
    side = 2 ** (config.num_layers + 2)  # the smallest that leaves a patch
    shape = (1, *[side] * (3 if config.frames else 2), 3)
    variables = PatchDiscriminator(config).init(key, jnp.zeros(shape), train=False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


def _around_one(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return 1.0 + kernel_init(key, shape, dtype)


def _along_last(x_C: jax.Array, rank: int) -> jax.Array:
    return x_C.reshape((1,) * (rank - 1) + x_C.shape)
