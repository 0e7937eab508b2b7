"""Convolutions over frames and pixels that are fast on CPU too.

XLA's CPU backend has no fast convolution in three dimensions. One in two dimensions over three
frames' channels side by side is the same sum, in half the time. Rounded to bfloat16, matrix
products are faster by far on a CPU with bfloat16 units (AMX): a place is multiplied by the weights
of all nine places around it at once, and what comes of that is added up where it belongs. Every
other backend keeps XLA's own convolution.

With strides, whole strides are first folded into channels: the gradient of a convolution with
strides is slower still.

Letters: B clips, T frames, H W places, C channels in, O channels out, F frames of all clips, P
places of a window in height and width.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lpd_jax.models.convolution import convolve
from lpd_jax.models.products import ROWS_BY_COLUMNS, multiply
from lpd_jax.models.space_and_depth import Sizes, space_to_depth

DIMENSIONS = ("NTHWC", "THWIO", "NTHWC")
UNSTRIDED = (1, 1, 1)


def convolve_clips(
    x_BTHWC: jax.Array, kernel: jax.Array, strides: Sizes = UNSTRIDED, products: str = "plain"
) -> jax.Array:
    """A convolution that adds nothing at the edges.

    Args:
        x_BTHWC: clips `[B, T, H, W, C]`.
        kernel: `[t, h, w, C, O]`.
        strides: along time, height and width.
        products: a key of `CLIP_CONVOLUTIONS`; of "bfloat16" comes float32.
    """
    convolve_unstrided = CLIP_CONVOLUTIONS[products]
    if strides == UNSTRIDED:
        return convolve_unstrided(x_BTHWC, kernel)

    def folded(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve_unstrided(*fold_strides(x_BTHWC, kernel, strides))

    def strided(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
        return over_clips(x_BTHWC, kernel, strides)

    if products != "plain":
        return folded(x_BTHWC, kernel)
    return jax.lax.platform_dependent(x_BTHWC, kernel, cpu=folded, default=strided)


def over_clips(x_BTHWC: jax.Array, kernel: jax.Array, strides: Sizes = UNSTRIDED) -> jax.Array:
    """As XLA does it."""
    return jax.lax.conv_general_dilated(
        x_BTHWC, kernel, strides, "VALID", dimension_numbers=DIMENSIONS
    )


def fold_strides(
    x_BTHWC: jax.Array, kernel: jax.Array, strides: Sizes
) -> tuple[jax.Array, jax.Array]:
    """Clips and kernel in units of whole strides, whose frames and places become channels."""
    counts = [
        (size - window) // stride + -(-window // stride)
        for size, window, stride in zip(x_BTHWC.shape[1:4], kernel.shape, strides, strict=False)
    ]
    # What the last window does not reach is left out; what is missing to whole strides is zero.
    T, H, W = (count * stride for count, stride in zip(counts, strides, strict=True))
    x_BTHWC = x_BTHWC[:, :T, :H, :W]
    missing = [most - size for most, size in zip((T, H, W), x_BTHWC.shape[1:4], strict=True)]
    x_BTHWC = jnp.pad(x_BTHWC, [(0, 0), *((0, more) for more in missing), (0, 0)])
    more = [-window % stride for window, stride in zip(kernel.shape, strides, strict=False)]
    kernel = jnp.pad(kernel, [*((0, size) for size in more), (0, 0), (0, 0)])
    folded_kernel = space_to_depth(jnp.moveaxis(kernel, -1, 0), strides)
    return space_to_depth(x_BTHWC, strides), jnp.moveaxis(folded_kernel, 0, -1)


def plain_convolution(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """In the type of the clips."""
    if kernel.shape[1:3] != (3, 3):
        return over_clips(x_BTHWC, kernel)
    return jax.lax.platform_dependent(x_BTHWC, kernel, cpu=over_pictures, default=over_clips)


def over_pictures(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same in two dimensions."""
    kernel_33CO = jnp.moveaxis(kernel, 0, 2).reshape(3, 3, -1, kernel.shape[-1])
    y_FHWO = convolve(side_by_side(x_BTHWC, kernel.shape[0]), kernel_33CO, 1, (0, 0))
    return y_FHWO.reshape(x_BTHWC.shape[0], -1, *y_FHWO.shape[1:])


def side_by_side(x_BTHWC: jax.Array, frames: int) -> jax.Array:
    """Each frame and those after it that its window sees, as channels: `[F, H, W, frames C]`."""
    T = x_BTHWC.shape[1] - frames + 1
    x = jnp.concatenate([x_BTHWC[:, i : i + T] for i in range(frames)], axis=-1)
    return x.reshape(-1, *x.shape[2:])


@jax.custom_vjp
def rounded_convolution(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of numbers rounded to bfloat16, summed in float32; so are its gradients."""
    return keep_for_gradient(x_BTHWC, kernel)[0]


def keep_for_gradient(
    x_BTHWC: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    x_BTHWC, kernel = x_BTHWC.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return convolve_halves(x_BTHWC, kernel), (x_BTHWC, kernel)


def gradient_of_convolution(
    kept: tuple[jax.Array, jax.Array], dy_BTHWO: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x_BTHWC, kernel = kept
    dy_BTHWO = dy_BTHWO.astype(jnp.bfloat16)
    reach = [(window - 1, window - 1) for window in kernel.shape[:3]]
    around_BTHWO = jnp.pad(dy_BTHWO, [(0, 0), *reach, (0, 0)])
    dx_BTHWC = convolve_halves(around_BTHWO, kernel[::-1, ::-1, ::-1].swapaxes(-1, -2))
    dkernel = jax.lax.platform_dependent(
        x_BTHWC, dy_BTHWO, cpu=kernel_gradient_by_products, default=kernel_gradient
    )
    return dx_BTHWC, dkernel


rounded_convolution.defvjp(keep_for_gradient, gradient_of_convolution)


def convolve_halves(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of bfloat16, float32."""
    return jax.lax.platform_dependent(x_BTHWC, kernel, cpu=by_wide_products, default=over_halves)


def over_halves(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    return over_clips(x_BTHWC.astype(jnp.float32), kernel.astype(jnp.float32))


def by_wide_products(x_BTHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Frame by frame, so that the products of all places of a window stay in the cache."""
    t, h, w, C, outputs = kernel.shape
    weights_CPO = jnp.moveaxis(kernel, 3, 1).reshape(t * C, h * w * outputs)
    height, width = x_BTHWC.shape[2] - h + 1, x_BTHWC.shape[3] - w + 1

    def convolve_frame(x_HWC: jax.Array) -> jax.Array:
        y_PO = multiply(x_HWC.reshape(-1, t * C), weights_CPO, ROWS_BY_COLUMNS)
        y_HWPO = y_PO.reshape(*x_HWC.shape[:2], h * w, outputs)
        parts = (
            y_HWPO[i : i + height, j : j + width, i * w + j] for i in range(h) for j in range(w)
        )
        return sum(parts, start=jnp.zeros((height, width, outputs)))

    y_FHWO = jax.lax.map(convolve_frame, side_by_side(x_BTHWC, t))
    return y_FHWO.reshape(x_BTHWC.shape[0], -1, height, width, outputs)


def kernel_gradient(x_BTHWC: jax.Array, dy_BTHWO: jax.Array) -> jax.Array:
    """The kernel's gradient as XLA makes it."""
    x_BTHWC, dy_BTHWO = x_BTHWC.astype(jnp.float32), dy_BTHWO.astype(jnp.float32)
    kernel = jnp.zeros((*windows_of(x_BTHWC, dy_BTHWO), x_BTHWC.shape[-1], dy_BTHWO.shape[-1]))
    return jax.vjp(lambda k: over_clips(x_BTHWC, k), kernel)[1](dy_BTHWO)[0]


def kernel_gradient_by_products(x_BTHWC: jax.Array, dy_BTHWO: jax.Array) -> jax.Array:
    """Frame by frame: all places, times the gradient moved to each place of a window."""
    t, h, w = windows_of(x_BTHWC, dy_BTHWO)
    C, outputs = x_BTHWC.shape[-1], dy_BTHWO.shape[-1]

    def add_frame(
        total_CPO: jax.Array, pair: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, None]:
        x_CF, dy_HWO = pair
        moved = [
            jnp.pad(dy_HWO, ((i, h - 1 - i), (j, w - 1 - j), (0, 0)))
            for i in range(h)
            for j in range(w)
        ]
        dy_FPO = jnp.concatenate(moved, axis=-1).reshape(-1, h * w * outputs)
        return total_CPO + multiply(x_CF, dy_FPO, ROWS_BY_COLUMNS), None

    # Transposed before the loop: within it, the transpose becomes part of a slower product.
    x_FCHW = side_by_side(x_BTHWC, t).transpose(0, 3, 1, 2)
    frames = x_FCHW.reshape(*x_FCHW.shape[:2], -1), dy_BTHWO.reshape(-1, *dy_BTHWO.shape[2:])
    total_CPO, _ = jax.lax.scan(add_frame, jnp.zeros((t * C, h * w * outputs)), frames)
    return jnp.moveaxis(total_CPO.reshape(t, C, h, w, outputs), 1, 3)


def windows_of(x_BTHWC: jax.Array, y_BTHWO: jax.Array) -> Sizes:
    """The window of an unstrided convolution from one to the other."""
    t, h, w = (
        size - left + 1 for size, left in zip(x_BTHWC.shape[1:4], y_BTHWO.shape[1:4], strict=True)
    )
    return t, h, w


# What `compute.products` asks for.
CLIP_CONVOLUTIONS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "plain": plain_convolution,
    "bfloat16": rounded_convolution,
}
