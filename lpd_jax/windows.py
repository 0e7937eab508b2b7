"""Pictures larger than the model's, seen through windows of the model's size.

A tokenizer is at its best at the size that it was trained at: the bundled one gives three avatars
side by side back at 23.5 dB through windows, at 21.4 dB in one piece. Sizes are in tokens unless
said otherwise. Letters: B images, H height, W width, C channels.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Area = tuple[slice, slice]
Size = tuple[int, int]


def window_starts(kept: slice, length: int, side: int, stride: int) -> list[int]:
    """Starts of windows along an axis: one over the middle, then out to both ends."""
    last, middle = length - side, middle_start(kept, length, side)
    onward = range(middle, last + stride, stride)
    back = range(middle, -stride, -stride)
    return sorted({min(start, last) for start in onward} | {max(start, 0) for start in back})


def middle_start(kept: slice, length: int, side: int) -> int:
    """Start of the window over the middle of what is kept."""
    return min(max((kept.start + kept.stop - side) // 2, 0), length - side)


def window_areas(kept: Area, grid: Size, window: Size, overlap: Size) -> list[Area]:
    """Windows that cover a grid and overlap by as much, or more where they meet its ends."""
    rows, columns = (
        window_starts(part, length, side, side - shared)
        for part, length, side, shared in zip(kept, grid, window, overlap, strict=True)
    )
    return [
        (slice(row, row + window[0]), slice(column, column + window[1]))
        for row, column in itertools.product(rows, columns)
    ]


def in_pixels(area: Area, factor: int) -> Area:
    """The same area in pixels, `factor` a token."""
    rows, columns = (slice(part.start * factor, part.stop * factor) for part in area)
    return rows, columns


def encode_windows(
    encode: Callable[[np.ndarray], np.ndarray], images_BHWC: np.ndarray, window: Size, factor: int
) -> np.ndarray:
    """Tokens int32 `[B, H, W]` of pictures of the window's size or larger.

    Each token is that of the window in which it is furthest from the border.
    """
    B, height, width, _ = images_BHWC.shape
    grid = (height // factor, width // factor)
    tokens_BHW = np.zeros((B, *grid), np.int32)
    best_HW = np.zeros(grid)
    depth_HW = border_distance(window)
    whole = (slice(0, grid[0]), slice(0, grid[1]))
    for area in window_areas(whole, grid, window, half(window)):
        seen_BN = encode(images_BHWC[:, *in_pixels(area, factor)])
        is_deeper_HW = depth_HW > best_HW[area]
        best_HW[area][is_deeper_HW] = depth_HW[is_deeper_HW]
        tokens_BHW[:, *area][:, is_deeper_HW] = seen_BN.reshape(B, *window)[:, is_deeper_HW]
    return tokens_BHW


def decode_windows(
    decode: Callable[[np.ndarray], np.ndarray],
    tokens_BHW: np.ndarray,
    areas: Sequence[Area],
    factor: int,
) -> np.ndarray:
    """Pictures uint8 `[B, H, W, 3]`; where windows overlap, the further inside the more it counts.

    Args:
        areas: windows that cover the grid.
    """
    B, height, width = tokens_BHW.shape
    sum_BHWC = np.zeros((B, height * factor, width * factor, 3), np.float32)
    weight_HW1 = np.zeros((*sum_BHWC.shape[1:3], 1), np.float32)
    for area in areas:
        window_BHW = tokens_BHW[:, *area]
        pixels = in_pixels(area, factor)
        depth_HW1 = border_distance((window_BHW.shape[1] * factor, window_BHW.shape[2] * factor))
        weight_HW1[pixels] += depth_HW1[..., None]
        sum_BHWC[:, *pixels] += depth_HW1[..., None] * decode(window_BHW.reshape(B, -1))
    return np.rint(sum_BHWC / weight_HW1).astype(np.uint8)


def border_distance(size: Size) -> np.ndarray:
    """float32 `[H, W]`: a pyramid, the product of the distances to the nearest ends; 1 in corners.

    1 2 1
    2 4 2
    1 2 1
    """
    rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) for n in size)
    return np.outer(rows, columns).astype(np.float32)


def half(size: Size) -> Size:
    return max(1, size[0] // 2), max(1, size[1] // 2)
