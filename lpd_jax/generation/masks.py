"""Which pixels and tokens an edit repaints, and how the new pixels join the old.

True is to repaint. Letters: B images, H height, W width, C channels, N tokens per image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lpd_jax.generation.pillow import as_greys
from lpd_jax.runtime.arguments import as_array
from lpd_jax.runtime.errors import UserError, shown

LIGHT = 127  # soft edges and the noise of a JPEG file are grey: darker greys keep


def pixel_mask(
    mask: Any, box: Sequence[int] | None, image_size: tuple[int, ...], grid_size: tuple[int, ...]
) -> np.ndarray:
    """The pixels to repaint, bool `[1 or B, H, W]`, from one of two descriptions.

    Args:
        mask: bool or uint8 (0 keeps) of pixels `[H, W]`, of tokens `[h, w]`, or one an image; or
            pictures of Pillow, see `light_parts`.
        box: (top, left, height, width) in pixels.
        image_size: (height, width) in pixels.
        grid_size: the same in tokens.

    Raises:
        UserError: both or none, a mask of another size or type or of nothing, a box that leaves the
            picture.
    """
    check_one_of(mask, box)
    if box is not None:
        return box_mask(box, image_size)[None]
    allowed = (
        f"is bool or uint8, {image_size} pixels or {grid_size} tokens, for all images or one an "
        "image"
    )
    if (greys := as_greys(mask)) is not mask:
        mask = light_parts(greys)
    mask_BHW = as_array("mask", mask, allowed)
    if mask_BHW.ndim == 2:
        mask_BHW = mask_BHW[None]
    if mask_BHW.dtype not in (np.bool_, np.uint8) or mask_BHW.shape[1:] not in (
        image_size,
        grid_size,
    ):
        raise UserError(f"mask: got {np.asarray(mask).dtype} {np.shape(mask)}, allowed {allowed}")
    mask_BHW = mask_BHW != 0
    if not mask_BHW.any():
        raise UserError("mask: got one that repaints nothing, allowed is one that repaints a pixel")
    if mask_BHW.shape[1:] == image_size:
        return mask_BHW
    return to_pixels(mask_BHW, image_size[0] // grid_size[0])


def check_one_of(mask: Any, box: Any) -> None:
    """Raises UserError for both descriptions of what to repaint, or none."""
    if (mask is None) == (box is None):
        got = "none" if mask is None else "both"
        raise UserError(f"mask, box: got {got}, allowed is one of them")


def light_parts(greys: np.ndarray) -> np.ndarray:
    """What a picture of a mask, of greys uint8 of any shape, repaints: bool of that shape.

    Raises:
        UserError: a picture without anything light.
    """
    light = greys > LIGHT
    if not light.any():
        raise UserError(
            f"mask: got a picture whose lightest grey is {greys.max(initial=0)} of 255, allowed is "
            f"one with greys above {LIGHT}, which are repainted; what is transparent is black, and "
            "of colours their grey counts"
        )
    return light


def box_mask(box: Sequence[int], image_size: tuple[int, ...]) -> np.ndarray:
    """bool `[H, W]`, True inside (top, left, height, width)."""
    height, width = image_size
    allowed = "are four whole numbers: top,left,height,width"
    numbers = as_array("box", box, allowed)
    if numbers.shape != (4,) or not np.issubdtype(numbers.dtype, np.integer):
        raise UserError(f"box: got {shown(box)}, allowed {allowed}")
    top, left, box_height, box_width = numbers.tolist()
    bottom, right = top + box_height, left + box_width
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise UserError(
            f"box: got top {top}, left {left}, height {box_height}, width {box_width}, allowed are "
            f"boxes of at least one pixel inside the {height}x{width} picture"
        )
    inside_HW = np.zeros(image_size, bool)
    inside_HW[top:bottom, left:right] = True
    return inside_HW


def to_pixels(cells_BHW: np.ndarray, factor: int) -> np.ndarray:
    """Values of cells `[..., h, w]` to pixels `[..., H, W]`, `factor` pixels a side."""
    return cells_BHW.repeat(factor, axis=-2).repeat(factor, axis=-1)


def known_tokens(mask_BHW: np.ndarray, factor: int) -> np.ndarray:
    """Tokens that stay, bool `[B, N]` in raster order: those without a pixel to repaint."""
    B, H, W = mask_BHW.shape
    cells = mask_BHW.reshape(B, H // factor, factor, W // factor, factor)
    return ~cells.any(axis=(2, 4)).reshape(B, -1)


def continue_edges(images_BHWC: np.ndarray, mask_BHW: np.ndarray) -> np.ndarray:
    """Pictures with each masked pixel replaced by the nearest kept one of its row.

    A row without any takes after the nearest row that has some; a picture without any stays.
    """
    kept_BHW = ~mask_BHW
    nearest_BHW = nearest_true(kept_BHW)
    rows_BH = nearest_true(np.asarray(kept_BHW.any(axis=2)))
    filled_BHWC = np.take_along_axis(images_BHWC, nearest_BHW[..., None], axis=2)
    return np.take_along_axis(filled_BHWC, rows_BH[..., None, None], axis=1)


def nearest_true(flags: np.ndarray) -> np.ndarray:
    """Index of the nearest True along the last axis; where there is none, each is its own."""
    length = flags.shape[-1]
    index = np.broadcast_to(np.arange(length), flags.shape)
    before = np.maximum.accumulate(np.where(flags, index, -length), axis=-1)
    after = np.where(flags, index, 2 * length)[..., ::-1]
    after = np.minimum.accumulate(after, axis=-1)[..., ::-1]
    nearest = np.where(index - before <= after - index, before, after)
    return np.where(flags.any(axis=-1, keepdims=True), nearest, index)


def paste_back(
    original_BHWC: np.ndarray, painted_BHWC: np.ndarray, mask_BHW: np.ndarray, seam: int
) -> np.ndarray:
    """The original pixels outside of the mask, exactly, and the painted ones inside, uint8.

    What the tokenizer cannot reproduce would show as an edge. So the difference between original
    and painted pixels at the edge is carried on into the mask, a ring of pixels at a time, and
    fades over `seam` rings. Nothing of what the mask hides is looked at.
    """
    missed_BHWC = np.where(mask_BHW[..., None], 0, original_BHWC.astype(np.float32) - painted_BHWC)
    pasted_BHWC = painted_BHWC.astype(np.float32)
    reached_BHW = ~mask_BHW
    for ring in range(1, seam + 1):
        count_BHW1 = neighbour_sum(reached_BHW[..., None].astype(np.float32))
        ring_BHW1 = (count_BHW1 > 0) & ~reached_BHW[..., None]
        if not ring_BHW1.any():  # a seam may be wider than the mask
            break
        mean_BHWC = neighbour_sum(missed_BHWC) / np.maximum(count_BHW1, 1)
        missed_BHWC = np.where(ring_BHW1, mean_BHWC, missed_BHWC)
        fade = 1 - ring / (seam + 1)
        pasted_BHWC += np.where(ring_BHW1, fade * missed_BHWC, 0)
        reached_BHW |= ring_BHW1[..., 0]
    pasted_BHWC = np.clip(np.rint(pasted_BHWC), 0, 255).astype(np.uint8)
    return np.where(mask_BHW[..., None], pasted_BHWC, original_BHWC)


def neighbour_sum(x_BHWC: np.ndarray) -> np.ndarray:
    """The sum of each pixel and its eight neighbours."""
    padded = np.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
