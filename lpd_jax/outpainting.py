"""Painting on beyond the edges of pictures, on the model's grid and past it.

The new canvas holds the picture's tokens and empty cells. Windows of the model's size are laid over
it, overlapping, and drawn one after the other, each knowing what the canvas holds by then. Letters:
B images, H height, W width, C channels.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lpd_jax import masks
from lpd_jax.decoding.order import check_whole
from lpd_jax.editing import (
    Edited,
    Model,
    Part,
    as_list,
    checked_drawn,
    checked_images,
    checked_seam,
    make_parts,
    pixels_per_token,
    same_number,
    with_known,
)
from lpd_jax.windows import (
    Area,
    decode_windows,
    encode_windows,
    half,
    in_pixels,
    middle_start,
    window_areas,
)

SIDES = ("top", "bottom", "left", "right")


class Layout(NamedTuple):
    """What of a picture lies where on its canvas; all in tokens."""

    grid: tuple[int, int]
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
    images_BHWC, labels = same_number(images=checked_images(images), labels=as_list(labels))
    added = dict(zip(SIDES, (top, bottom, left, right), strict=True))
    layout = lay_out(images_BHWC.shape[1:3], added, factor, model.grid_size)
    shared = checked_overlap(overlap, factor, model.grid_size)
    seam = checked_seam(seam, factor)
    seeds = window_seeds(choices.get("seed", 0))
    # All windows are planned, so all choices checked, before the first is drawn.
    planned: list[tuple[Area, Part]] = []
    for (area, known_HW), seed in zip(
        lay_windows(layout, model.grid_size, shared), seeds, strict=False
    ):
        known_BN = np.tile(known_HW.reshape(-1), (len(images_BHWC), 1))
        (part,) = make_parts(model, labels, known_BN, {**choices, "seed": seed})
        planned.append((area, part))

    old_BHWC, mask_BHW = to_canvas(images_BHWC, layout, factor)
    tokens_BHW = encode_kept(model, old_BHWC, layout, factor)
    for area, part in planned:
        window_BHW = tokens_BHW[:, *area]
        window_BN = window_BHW.reshape(len(window_BHW), -1)
        drawn_BN = model.draw_tokens(with_known(part, window_BN))
        window_BHW[:] = checked_drawn(part, window_BN, drawn_BN).reshape(window_BHW.shape)
    areas = window_areas(layout.kept, layout.grid, model.grid_size, half(model.grid_size))
    painted_BHWC = decode_windows(model.decode, tokens_BHW, areas, factor)
    if not keep_reconstruction:
        painted_BHWC = masks.paste_back(old_BHWC, painted_BHWC, mask_BHW, seam)
    return Edited(painted_BHWC, tokens_BHW.reshape(len(tokens_BHW), -1), mask_BHW)


def lay_out(
    image_size: tuple[int, int], added: Mapping[str, int], factor: int, window: tuple[int, int]
) -> Layout:
    """Where a picture of so many pixels lies on its canvas.

    Args:
        added: pixels by side; below 0 cuts off.
        factor: pixels per token side.
        window: the model's grid, the smallest canvas.

    Raises:
        ValueError: a size that is no whole number of tokens, nothing of the picture left, or a
            canvas smaller than the model's picture.
    """
    for name, pixels in added.items():
        if pixels != check_whole(name, pixels, -max(image_size)) or pixels % factor:
            raise ValueError(f"{name}: got {pixels} pixels, allowed are multiples of {factor}")
    if image_size[0] % factor or image_size[1] % factor:
        raise ValueError(f"images: got {image_size} pixels, allowed are multiples of {factor}")
    lengths, taken, kept = [], [], []
    for axis, (before, after) in enumerate((SIDES[:2], SIDES[2:])):
        sizes = (image_size[axis], added[before], added[after])
        length, first, last = (size // factor for size in sizes)
        lengths.append(length + first + last)
        taken.append(slice(max(-first, 0), length - max(-last, 0)))
        kept.append(slice(max(first, 0), lengths[axis] - max(last, 0)))
    got = ", ".join(f"{name} {pixels}" for name, pixels in added.items())
    if any(part.start >= part.stop for part in kept):
        raise ValueError(f"{got}: nothing of the picture of {image_size} pixels would be left")
    if lengths[0] < window[0] or lengths[1] < window[1]:
        raise ValueError(
            f"{got}: the canvas would be {lengths[0] * factor}x{lengths[1] * factor} pixels, "
            f"allowed is at least the model's picture, {window[0] * factor}x{window[1] * factor}"
        )
    return Layout((lengths[0], lengths[1]), (taken[0], taken[1]), (kept[0], kept[1]))


def checked_overlap(overlap: int | None, factor: int, window: tuple[int, int]) -> tuple[int, int]:
    """(down, across) in tokens: what a window knows of its neighbour, half its side by default."""
    if overlap is None:
        return half(window)
    most = (min(window) - 1) * factor
    if check_whole("overlap", overlap, factor, most) % factor:
        raise ValueError(f"overlap: got {overlap} pixels, allowed are multiples of {factor}")
    return overlap // factor, overlap // factor


def lay_windows(
    layout: Layout, window: tuple[int, int], overlap: tuple[int, int]
) -> Iterator[tuple[Area, np.ndarray]]:
    """Windows in the order in which they are drawn: areas of the canvas and what each knows.

    The first is centred over the picture, the others follow in all directions; the one that knows
    most is next.
    """
    known_HW = np.zeros(layout.grid, bool)
    known_HW[layout.kept] = True
    areas = window_areas(layout.kept, layout.grid, window, overlap)
    while not known_HW.all():
        open_areas = [area for area in areas if not known_HW[area].all()]
        area = max(open_areas, key=lambda area: known_HW[area].sum())
        yield area, known_HW[area].copy()
        known_HW[area] = True


def window_seeds(seed: Any) -> Iterator[int]:
    """A seed for each window: with one for all, windows would repeat each other's noise."""
    yield seed
    for number in itertools.count(1):
        yield int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def to_canvas(
    images_BHWC: np.ndarray, layout: Layout, factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """Canvases uint8 `[B, H, W, 3]`, new pixels black, and bool `[B, H, W]`, True where new."""
    height, width = (length * factor for length in layout.grid)
    canvas_BHWC = np.zeros((len(images_BHWC), height, width, 3), np.uint8)
    mask_BHW = np.ones(canvas_BHWC.shape[:3], bool)
    canvas_BHWC[:, *in_pixels(layout.kept, factor)] = images_BHWC[
        :, *in_pixels(layout.taken, factor)
    ]
    mask_BHW[:, *in_pixels(layout.kept, factor)] = False
    return canvas_BHWC, mask_BHW


def encode_kept(model: Model, canvas_BHWC: np.ndarray, layout: Layout, factor: int) -> np.ndarray:
    """The tokens of canvases int32 `[B, H, W]`, 0 where there is no picture.

    A picture smaller than the model's is continued to that size by its edge pixels, as far as the
    canvas goes. Black, mirrored, or left small, it would have more tokens that are not its own.
    """
    padding = []
    for kept, length, side in zip(layout.kept, layout.grid, model.grid_size, strict=True):
        start = middle_start(kept, length, side)
        before, after = max(kept.start - start, 0), max(start + side - kept.stop, 0)
        padding.append((before * factor, after * factor))
    kept_BHWC = canvas_BHWC[:, *in_pixels(layout.kept, factor)]
    padded_BHWC = np.pad(kept_BHWC, ((0, 0), *padding, (0, 0)), mode="edge")
    seen_BHW = encode_windows(model.encode, padded_BHWC, model.grid_size, factor)
    tokens_BHW = np.zeros((len(canvas_BHWC), *layout.grid), np.int32)
    kept_BHW = tokens_BHW[:, *layout.kept]
    top, left = padding[0][0] // factor, padding[1][0] // factor
    kept_BHW[:] = seen_BHW[:, top : top + kept_BHW.shape[1], left : left + kept_BHW.shape[2]]
    return tokens_BHW
