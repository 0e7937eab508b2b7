"""Painting on beyond the edges of pictures, on the model's grid and past it.

The new canvas holds the picture's pixels and empty ones. Windows of the model's size are laid over
it, overlapping, and inpainted one after the other, each keeping what the canvas holds by then. Each
window is encoded anew: at its border a tokenizer writes other tokens than inside, and a window that
took over those of another would find its neighbour's border in the middle of its own picture.
Letters: B images, H height, W width, C channels.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.generation.inpaint import (
    Edited,
    Model,
    checked_images,
    checked_seam,
    inpaint,
    make_parts,
    pixels_per_token,
    same_number,
)
from lpd_jax.generation.request import label_list
from lpd_jax.runtime.arguments import check_flag, check_whole
from lpd_jax.runtime.errors import UserError

SIDES = ("top", "bottom", "left", "right")
MAX_PIXELS = 2**26  # of a canvas, 8192x8192: a slip of the finger would fill the memory
Area = tuple[slice, slice]
Size = tuple[int, ...]


class Layout(NamedTuple):
    """What of a picture lies where on its canvas, in pixels."""

    canvas: Size
    taken: Area  # of the picture
    kept: Area  # of the canvas


def outpaint(
    model: Model,
    images: Any,
    labels: Any,
    *,
    top: int = 0,
    bottom: int = 0,
    left: int = 0,
    right: int = 0,
    overlap: int | None = None,
    keep_reconstruction: bool = False,
    seam: int | None = None,
    **choices: Any,
) -> Edited:
    """Paints on beyond the edges; see `Pipeline.outpaint`."""
    factor = pixels_per_token(model)
    images_BHWC, labels = same_number(images=checked_images(images), labels=label_list(labels))
    added = dict(zip(SIDES, (top, bottom, left, right), strict=True))
    check_flag("keep_reconstruction", keep_reconstruction)
    layout = lay_out(images_BHWC.shape[1:3], added, factor, model.image_size)
    shared = checked_overlap(overlap, factor, model.image_size)
    seam = checked_seam(seam, factor)
    # All choices are checked before the first window is drawn, and even if there is none.
    everything_BN = np.ones((len(images_BHWC), model.grid_size[0] * model.grid_size[1]), bool)
    seed = make_parts(model, labels, everything_BN, choices)[0].request.seed

    canvas_BHWC = np.zeros((len(images_BHWC), *layout.canvas, 3), np.uint8)
    canvas_BHWC[:, *layout.kept] = images_BHWC[:, *layout.taken]
    windows = lay_windows(layout, factor, model.image_size, shared)
    for (area, mask_HW), window_seed in zip(windows, window_seeds(seed), strict=False):
        canvas_BHWC[:, *area] = inpaint(
            model,
            canvas_BHWC[:, *area],
            labels,
            mask=mask_HW,
            ignore_hidden=True,
            keep_reconstruction=keep_reconstruction,
            seam=seam,
            **choices | {"seed": window_seed},
        ).images_BHWC
    mask_BHW = np.ones(canvas_BHWC.shape[:3], bool)
    mask_BHW[:, *layout.kept] = False
    return Edited(canvas_BHWC, mask_BHW)


def lay_out(image_size: Size, added: Mapping[str, int], factor: int, window: Size) -> Layout:
    """Where a picture lies on its canvas.

    Args:
        added: pixels by side; below 0 cuts off.
        factor: pixels per token side.
        window: size of the model's picture, the smallest canvas.

    Raises:
        UserError: a size that is no whole number of tokens, nothing of the picture left, or a
            canvas smaller than the model's picture or larger than any memory.
    """
    for name, pixels in added.items():
        if check_whole(name, pixels, -max(image_size), 2**62) % factor:
            raise UserError(f"{name}: got {pixels} pixels, allowed are multiples of {factor}")
    if image_size[0] % factor or image_size[1] % factor:
        raise UserError(f"images: got {image_size} pixels, allowed are multiples of {factor}")
    lengths, taken, kept = [], [], []
    for length, before, after in zip(image_size, SIDES[::2], SIDES[1::2], strict=True):
        first, last = added[before], added[after]
        lengths.append(length + first + last)
        taken.append(slice(max(-first, 0), length - max(-last, 0)))
        kept.append(slice(max(first, 0), lengths[-1] - max(last, 0)))
    got = f"{', '.join(added)}: got {', '.join(map(str, added.values()))}"
    if any(part.start >= part.stop for part in kept):
        raise UserError(
            f"{got}, so nothing of the picture of {image_size} pixels would be left; allowed is to "
            "keep some of it"
        )
    if lengths[0] < window[0] or lengths[1] < window[1]:
        raise UserError(
            f"{got}, so the canvas would be {lengths[0]}x{lengths[1]} pixels, allowed is at least "
            f"the model's picture, {window[0]}x{window[1]}"
        )
    if lengths[0] * lengths[1] > MAX_PIXELS:
        raise UserError(
            f"{got}, so the canvas would be {lengths[0]}x{lengths[1]} pixels, allowed are "
            f"{MAX_PIXELS:,} in all"
        )
    return Layout((lengths[0], lengths[1]), (taken[0], taken[1]), (kept[0], kept[1]))


def checked_overlap(overlap: int | None, factor: int, window: Size) -> Size:
    """(down, across) in pixels: what a window knows of its neighbour, half its side by default."""
    if overlap is None:
        height, width = (max(factor, side // 2 // factor * factor) for side in window)
        return height, width
    if check_whole("overlap", overlap, factor, min(window) - factor) % factor:
        raise UserError(f"overlap: got {overlap} pixels, allowed are multiples of {factor}")
    return overlap, overlap


def lay_windows(
    layout: Layout, factor: int, window: Size, overlap: Size
) -> Iterator[tuple[Area, np.ndarray]]:
    """Windows in the order in which they are drawn: areas of the canvas, and what to paint there.

    The first lies over the middle of the picture, the others follow in all directions; the one
    that knows most is next.
    """
    known_HW = np.zeros(layout.canvas, bool)
    known_HW[layout.kept] = True
    starts = [
        window_starts(*sizes, factor)
        for sizes in zip(layout.kept, layout.canvas, window, overlap, strict=True)
    ]
    areas = [
        (slice(row, row + window[0]), slice(column, column + window[1]))
        for row, column in itertools.product(*starts)
    ]
    while not known_HW.all():
        open_areas = [area for area in areas if not known_HW[area].all()]
        area = max(open_areas, key=lambda area: known_HW[area].sum())
        yield area, ~known_HW[area]
        known_HW[area] = True


def window_starts(kept: slice, length: int, side: int, overlap: int, factor: int) -> list[int]:
    """Starts of windows along an axis: one over the middle, then out to both ends."""
    last, stride = length - side, side - overlap
    middle = (kept.start + kept.stop - side) // 2 // factor * factor
    middle = min(max(middle, 0), last)
    onward = range(middle, last + stride, stride)
    back = range(middle, -stride, -stride)
    return sorted({min(start, last) for start in onward} | {max(start, 0) for start in back})


def window_seeds(seed: Any) -> Iterator[int]:
    """A seed for each window: with one for all, windows would repeat each other's noise."""
    yield seed
    for number in itertools.count(1):
        yield int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
