"""3x3 convolutions that are fast on CPU too.

XLA's CPU backend computes the weight gradient of a 3x3 convolution as a convolution with an
image-sized kernel, 3 to 10 times slower than the same sum as one matrix product per image. And a
convolution of pixels that were just doubled multiplies each of them by several weights, which can
be added up before: four convolutions of 2x2 take half the time. Everything else, and every other
backend, keeps XLA's own convolution.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Conv3x3(nn.Module):
    """3x3 convolution with bias, channels last; parameters as in `nn.Conv`."""

    channels: int
    stride: int = 1
    padding: tuple[int, int] = (1, 1)  # pixels before and after, on both axes
    doubled: bool = False  # of the picture at twice its sides, nearest neighbour
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        shape = (3, 3, x_BHWC.shape[-1], self.channels)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        kernel, bias_C = kernel.astype(x_BHWC.dtype), bias_C.astype(x_BHWC.dtype)
        if self.doubled:
            return convolve_doubled(x_BHWC, kernel) + bias_C[None, None, None]
        return convolve(x_BHWC, kernel, self.stride, self.padding) + bias_C[None, None, None]


def plain_convolution(
    x_BHWC: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> jax.Array:
    """Convolves `[B, H, W, C]` with a kernel `[3, 3, C, O]`."""
    return jax.lax.conv_general_dilated(
        x_BHWC, kernel, (stride, stride), (padding, padding), dimension_numbers=DIMENSIONS
    )


convolve = jax.custom_vjp(plain_convolution, nondiff_argnums=(2, 3))


def convolve_forward(
    x_BHWC: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The convolution, and what its gradients need."""
    return plain_convolution(x_BHWC, kernel, stride, padding), (x_BHWC, kernel)


def convolve_backward(
    stride: int,
    padding: tuple[int, int],
    residuals: tuple[jax.Array, jax.Array],
    gradient_BHWO: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Gradients of the input and of the kernel."""
    x_BHWC, kernel = residuals
    _, input_vjp = jax.vjp(lambda x: plain_convolution(x, kernel, stride, padding), x_BHWC)
    (input_gradient,) = input_vjp(gradient_BHWO)
    kernel_gradient = jax.lax.platform_dependent(
        x_BHWC,
        gradient_BHWO,
        cpu=lambda x, gradient: by_products(x, gradient, kernel, stride, padding),
        default=lambda x, gradient: by_convolution(x, gradient, kernel, stride, padding),
    )
    return input_gradient, kernel_gradient


convolve.defvjp(convolve_forward, convolve_backward)


def by_convolution(
    x_BHWC: jax.Array,
    gradient_BHWO: jax.Array,
    kernel: jax.Array,
    stride: int,
    padding: tuple[int, int],
) -> jax.Array:
    """The kernel's gradient as XLA makes it."""
    _, kernel_vjp = jax.vjp(lambda k: plain_convolution(x_BHWC, k, stride, padding), kernel)
    return kernel_vjp(gradient_BHWO)[0]


def by_products(
    x_BHWC: jax.Array,
    gradient_BHWO: jax.Array,
    kernel: jax.Array,
    stride: int,
    padding: tuple[int, int],
) -> jax.Array:
    """Sums `patches^T gradient` image by image, so that the patches of one stay in the cache."""
    channels, outputs = kernel.shape[-2:]
    height, width = gradient_BHWO.shape[1:3]

    def add_image(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x_HWC, gradient_HWO = pair
        x_HWC = jnp.pad(x_HWC, (padding, padding, (0, 0)))
        windows = [
            x_HWC[i : i + stride * height : stride, j : j + stride * width : stride]
            for i in range(3)
            for j in range(3)
        ]
        patches_TC = jnp.concatenate(windows, axis=-1).reshape(height * width, 9 * channels)
        return total + patches_TC.T @ gradient_HWO.reshape(height * width, outputs), None

    start = jnp.zeros((9 * channels, outputs), jnp.float32)
    total, _ = jax.lax.scan(add_image, start, (x_BHWC, gradient_BHWO))
    return total.reshape(kernel.shape).astype(kernel.dtype)


def double(x_BHWC: jax.Array) -> jax.Array:
    """Doubles both sides, nearest neighbour."""
    B, H, W, C = x_BHWC.shape
    # A broadcast: its gradient is a sum, where that of `repeat` is a slow scatter.
    x = jnp.broadcast_to(x_BHWC[:, :, None, :, None, :], (B, H, 2, W, 2, C))
    return x.reshape(B, 2 * H, 2 * W, C)


def plain_doubled(x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolve(double(x_BHWC), kernel, 1, (1, 1))


@jax.custom_vjp
def convolve_doubled(x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves `[B, 2H, 2W, C]`, which `double` makes, with a kernel `[3, 3, C, O]`."""
    return jax.lax.platform_dependent(x_BHWC, kernel, cpu=by_phases, default=plain_doubled)


def convolve_doubled_forward(
    x_BHWC: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve_doubled(x_BHWC, kernel), (x_BHWC, kernel)


def convolve_doubled_backward(
    residuals: tuple[jax.Array, jax.Array], gradient_BHWO: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, vjp = jax.vjp(plain_doubled, *residuals)
    return vjp(gradient_BHWO)


convolve_doubled.defvjp(convolve_doubled_forward, convolve_doubled_backward)


def by_phases(x_BHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same in 4 of 9 products: of three neighbours along an axis, two are one pixel."""
    B, H, W, C = x_BHWC.shape
    rows = []
    for row, of_row_23CO in enumerate(phase_weights(kernel, axis=0)):
        columns = []
        for column, of_both_22CO in enumerate(phase_weights(of_row_23CO, axis=1)):
            padding = ((1 - row, row), (1 - column, column))
            columns.append(
                jax.lax.conv_general_dilated(
                    x_BHWC, of_both_22CO, (1, 1), padding, dimension_numbers=DIMENSIONS
                )
            )
        rows.append(jnp.stack(columns, axis=3))
    return jnp.stack(rows, axis=2).reshape(B, 2 * H, 2 * W, kernel.shape[-1])


def phase_weights(kernel: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Weights of the two pixels that even outputs see along an axis, and of those of odd ones."""
    before, middle, after = jnp.split(kernel, 3, axis)
    return (
        jnp.concatenate([before, middle + after], axis),
        jnp.concatenate([before + middle, after], axis),
    )
