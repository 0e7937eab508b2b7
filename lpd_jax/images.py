"""Pixels: cropping and resizing, the range models work in, and the files people look at.

Letters: B batch, H height, W width, C channels (3, RGB). Images are uint8 unless said otherwise.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lpd_jax.bundled import captions
from lpd_jax.runtime.arguments import as_array, as_list, check_text, check_whole
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.buckets import local_file, located
from lpd_jax.runtime.clip_files import write_gif
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.picture_files import BLACK, UnreadablePicture, read_picture

CUBIC_SHARPNESS = -0.75  # Keys' a as PyTorch has it; jax.image.resize uses -0.5
BACKGROUND = 238  # light grey, so that pictures on white keep their edges
# Of a longer picture the square in its middle shows next to nothing, at a great cost of memory.
LONGEST_FRAME = 655_350  # milliseconds that a GIF can say
PICTURES = "are pictures uint8 [height, width, 3] of one size"
LARGEST_SIDE = 2**16  # pixels of what is resized or put together; PNG and GIF end there
LONGEST = 100  # short sides


def adm_center_crop(image_HWC: np.ndarray, size: int, name: str = "image") -> np.ndarray:
    """Square centre crop of `size` pixels, byte for byte as ADM prepares ImageNet.

    Halve with a box filter while the short side is at least 2 * size, bicubic to a short side of
    `size`, cut the middle.

    Args:
        image_HWC: uint8 RGB.
        size: of both sides, in pixels.
        name: what an error calls the picture.

    Raises:
        UserError: anything but uint8 RGB, or a long side of more than 100 short ones.
    """
    image_HWC = as_array(name, image_HWC, "is uint8 [height, width, 3]")
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[-1] != 3:
        raise UserError(
            f"{name}: got {image_HWC.dtype} {image_HWC.shape}, allowed is uint8 [height, width, 3]"
        )
    return center_crop(Image.fromarray(image_HWC), size, name)


def center_crop(image: Image.Image, size: int, name: str = "image") -> np.ndarray:
    """`adm_center_crop` of an RGB image of Pillow, uint8 `[size, size, 3]`.

    Args:
        name: what an error calls the picture.

    Raises:
        UserError: a picture whose long side is more than 100 short ones.
    """
    size = check_whole("size", size, 1, LARGEST_SIDE)
    image = shrink(image, size, name)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image)[top : top + size, left : left + size]


def random_crop(
    image: Image.Image, size: int, smallest: float, rng: np.random.Generator, name: str = "image"
) -> np.ndarray:
    """A random square of `size` pixels, as ADM's `random_crop_arr` takes them for tokenizers.

    Shrunk so that the square is `smallest` to all of the short side, then cut anywhere.

    Args:
        image: RGB, of Pillow.
        size: of both sides, in pixels.
        smallest: share of the short side, above 0 to 1.
        rng: decides.
        name: what an error calls the picture.

    Raises:
        UserError: a picture whose long side is more than 100 short ones.
    """
    short = int(rng.integers(size, math.ceil(size / smallest) + 1))
    image = shrink(image, short, name)
    top, left = (int(rng.integers(side - size + 1)) for side in (image.height, image.width))
    return np.asarray(image)[top : top + size, left : left + size]


def shrink(image: Image.Image, short_side: int, name: str) -> Image.Image:
    """Halves with a box filter while it can, then bicubic, to a short side; see the crops."""
    short, long = sorted(image.size)
    if short < 1 or long > LONGEST * short:
        raise UserError(
            f"{name}: got {image.width}x{image.height} pixels, allowed are pictures whose long "
            f"side is at most {LONGEST} short ones"
        )
    while min(image.size) >= 2 * short_side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = short_side / min(image.size)
    shape = (round(image.width * scale), round(image.height * scale))
    return image.resize(shape, Image.Resampling.BICUBIC)


def resize_bicubic(images_BHWC: Any, size: int | tuple[int, int]) -> jax.Array:
    """Bicubic resize to (height, width): half-pixel centres, clamped edges, no antialiasing.

    Equals `torch.nn.functional.interpolate(mode="bicubic")`; takes and gives floats, unclipped, of
    pictures, or of clips `[B, T, H, W, C]` each frame.
    """
    allowed = "is one side or (height, width) in pixels"
    sides = as_list("size", size, allowed) if np.iterable(size) else [size] * 2
    if len(sides) != 2:
        raise UserError(f"size: got {shown(size)}, allowed {allowed}")
    height, width = (check_whole("size", side, 1, LARGEST_SIDE) for side in sides)
    if not isinstance(images_BHWC, jax.Array):
        images_BHWC = jnp.asarray(as_array("images", images_BHWC, "is [batch, height, width, 3]"))
    if images_BHWC.ndim not in (4, 5) or not min(images_BHWC.shape):
        raise UserError(f"images: got {shown(images_BHWC)}, allowed is [batch, height, width, 3]")
    rows_HH = _cubic_weights(images_BHWC.shape[-3], height)
    columns_WW = _cubic_weights(images_BHWC.shape[-2], width)
    exact = jax.lax.Precision.HIGHEST
    axes = "...HWC,hH,wW->...hwC"
    return jnp.einsum(axes, images_BHWC, rows_HH, columns_WW, precision=exact)


def _cubic_weights(length: int, new_length: int) -> np.ndarray:
    """Matrix [new_length, length] that resamples one axis; every row has four taps at most."""
    a = CUBIC_SHARPNESS
    source = (np.arange(new_length) + 0.5) * length / new_length - 0.5
    weights = np.zeros((new_length, length))
    for tap in range(-1, 3):
        index = np.floor(source).astype(int) + tap
        x = np.abs(source - index)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        # Taps beyond the edge read the edge pixel, so several may add up in one column.
        columns = np.clip(index, 0, length - 1)
        np.add.at(weights, (np.arange(new_length), columns), np.where(x <= 1, near, far))
    return weights.astype(np.float32)


def to_model_range(images_BHWC: Any) -> Any:
    """uint8 pixels to float32 in [-1, 1]. NumPy stays NumPy, JAX stays JAX."""
    return images_BHWC.astype(np.float32) / 127.5 - 1.0


def to_uint8(images_BHWC: jax.Array) -> jax.Array:
    """Model output to pixels as LlamaGen and PAR do: clamp(127.5 x + 128, 0, 255), truncated."""
    scaled_BHWC = 127.5 * jnp.asarray(images_BHWC, jnp.float32) + 128.0
    return jnp.clip(scaled_BHWC, 0.0, 255.0).astype(jnp.uint8)


def image_grid(images_BHWC: Any, columns: int | None = None, padding: int = 2) -> np.ndarray:
    """Pictures side by side on light grey, row by row: uint8 [H, W, C]. Near-square by default."""
    images_BHWC = _check_images(images_BHWC)
    batch, height, width, channels = images_BHWC.shape
    if columns is not None:
        check_whole("columns", columns, 1)
    check_whole("padding", padding, 0, LARGEST_SIDE)
    columns = min(batch, columns or math.ceil(math.sqrt(batch)))
    rows = math.ceil(batch / columns)
    cell_height, cell_width = height + padding, width + padding
    shape = (rows * cell_height + padding, columns * cell_width + padding, channels)
    grid_HWC = np.full(shape, BACKGROUND, np.uint8)
    for i, image_HWC in enumerate(images_BHWC):
        top = padding + i // columns * cell_height
        left = padding + i % columns * cell_width
        grid_HWC[top : top + height, left : left + width] = image_HWC
    return grid_HWC


def labelled_grid(
    images_BHWC: Any,
    labels: Sequence[str],
    columns: int | None = None,
    scale: int = 2,
    padding: int | None = None,
) -> np.ndarray:
    """`image_grid` of pictures enlarged `scale` times, each with its label below it."""
    images_BHWC = _check_images(images_BHWC)
    labels = as_list("labels", labels, "is a list of texts")
    if len(labels) != len(images_BHWC):
        raise UserError(f"labels: got {len(labels)}, allowed is one for each of {len(images_BHWC)}")
    labels = [check_text("labels", label) for label in labels]
    scale = check_whole("scale", scale, 1, LARGEST_SIDE // max(images_BHWC.shape[1:3]))
    large_BHWC = images_BHWC.repeat(scale, axis=1).repeat(scale, axis=2)
    width = large_BHWC.shape[2]
    strips_BHWC = captions.draw(labels, width, BACKGROUND)
    cells_BHWC = np.concatenate([large_BHWC, strips_BHWC], axis=1)
    return image_grid(cells_BHWC, columns, max(4, width // 16) if padding is None else padding)


def _check_images(images_BHWC) -> np.ndarray:
    images_BHWC = as_array("images", images_BHWC, "is uint8 [batch, height, width, 3]")
    valid = images_BHWC.ndim == 4 and images_BHWC.shape[-1] == 3 and min(images_BHWC.shape)
    if images_BHWC.dtype != np.uint8 or not valid:
        raise UserError(
            f"images: got {images_BHWC.dtype} {images_BHWC.shape}, "
            "allowed is uint8 [batch, height, width, 3]"
        )
    return images_BHWC


def read_image(name: str, path: str | PathLike) -> np.ndarray:
    """Pixels uint8 `[H, W, 3]` of a picture file, upright, transparency laid on white.

    Raises UserError naming the option `name` for a file that is not there, is no picture, is
    damaged, or would unpack to more pixels than Pillow thinks sane.
    """
    return np.asarray(_read_named(name, path))


def read_mask(name: str, path: str | PathLike) -> np.ndarray:
    """Greys uint8 `[H, W]` of a mask; what is not drawn, since it is transparent, is 0.

    Raises UserError as `read_image` does.
    """
    return np.asarray(_read_named(name, path, ground=BLACK).convert("L"))


def _read_named(name: str, path: str | PathLike, **options: Any) -> Image.Image:
    path = located(name, path)
    try:
        with warnings.catch_warnings():  # what Pillow warns of is refused
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with local_file(name, path) as local:
                return read_picture(local, **options)
    except FileNotFoundError:
        raise UserError(
            f"{name}: got {shown_path(path)}, which does not exist; allowed are picture files"
        ) from None
    except UnreadablePicture as error:
        raise UserError(
            f"{name}: got {shown_path(path)}, allowed are picture files ({error})"
        ) from None


def _check_picture(name: str, image: Any) -> np.ndarray:
    """uint8 `[H, W]`, or `[H, W, C]` of 3 or 4 channels."""
    allowed = "is uint8 [height, width, 3]"
    array = as_array(name, image, allowed)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not min(array.shape) > 0:
        raise UserError(f"{name}: got {shown(array)}, allowed {allowed}")
    return array


def save_png(
    path: str | PathLike, image_HWC: np.ndarray, text: Mapping[str, str] | None = None
) -> None:
    """Writes a uint8 picture; the file appears whole or not at all.

    Args:
        text: what the file says of itself, by keyword; viewers show it as comments.
    """
    image_HWC = _check_picture("image", image_HWC)
    info = PngInfo()
    for keyword, words in (text or {}).items():
        info.add_itxt(keyword, words)
    with replacing_file(located("path", path), "the picture") as temporary:
        image = Image.fromarray(image_HWC)
        image.save(temporary, format="PNG", optimize=True, pnginfo=info)


def _check_times(milliseconds: Any, count: int) -> list[int] | int:
    """How long frames are shown, as Pillow takes it: one number, or one a frame."""
    if not np.iterable(milliseconds):
        return check_whole("milliseconds", milliseconds, 0, LONGEST_FRAME)
    times = as_list("milliseconds", milliseconds, "is one number or one a frame")
    if len(times) != count:
        raise UserError(
            f"milliseconds: got {len(times)}, allowed is one, or one for each of {count}"
        )
    return [check_whole("milliseconds", time, 0, LONGEST_FRAME) for time in times]


def save_gif(
    path: str | PathLike, frames: Sequence[np.ndarray], milliseconds: int | Sequence[int] = 120
) -> None:
    """Writes an endless animation; `milliseconds` is one number or one a frame."""
    frames = [_check_picture("frames", frame) for frame in as_list("frames", frames, PICTURES)]
    if len({frame.shape for frame in frames}) != 1:
        raise UserError(f"frames: got {len(frames)} of several sizes or none, allowed {PICTURES}")
    times = _check_times(milliseconds, len(frames))
    with replacing_file(located("path", path), "the animation") as temporary:
        write_gif(temporary, frames, times)
