"""The grid of tokens: its sides, and an order of its cells that a user brings."""

import math
from typing import Any

import numpy as np

from lpd_jax.runtime.arguments import as_array, as_list, check_whole, shown
from lpd_jax.runtime.errors import UserError

MOST_TOKENS = 2**14  # of a picture or a clip, a dozen times the largest published; a guard
OF_PICTURES, OF_CLIPS = "(height, width)", "(frames, height, width)"


def check_grid(grid: Any, name: str = "grid") -> tuple[int, ...]:
    """The grid as (height, width) or (frames, height, width), plain ints.

    Raises:
        UserError: not two or three sides, a side that is no whole number from 1, or more cells
            than MOST_TOKENS; `name` is what it calls the grid.
    """
    return checked_sides(grid, name, (2, 3), f"{OF_PICTURES} or {OF_CLIPS}, all")


def check_picture_grid(grid: Any, name: str = "grid") -> tuple[int, int]:
    """The grid as (height, width), for what knows no time; UserError as `check_grid` raises it."""
    height, width = checked_sides(grid, name, (2,), f"{OF_PICTURES}, both")
    return height, width


def checked_sides(grid: Any, name: str, axes: tuple[int, ...], what: str) -> tuple[int, ...]:
    """The sides as plain ints; `axes` are the numbers of them allowed, `what` says it in words."""
    allowed = f"is {what} whole numbers from 1, of {MOST_TOKENS:,} tokens at most"
    sides = as_list(name, grid, allowed)
    try:
        checked = tuple(check_whole(name, side, 1, MOST_TOKENS) for side in sides)
    except ValueError:  # a side that is no whole number
        checked = ()
    if len(checked) not in axes or math.prod(checked) > MOST_TOKENS:
        raise UserError(f"{name}: got {shown(grid)}, allowed {allowed}") from None
    return checked


def check_order(order: Any, num_tokens: int, batch_size: int) -> np.ndarray:
    """An order of the user's own as int32 `[B, N]`; one `[N]` order serves every image.

    Raises:
        UserError: wrong shape or type, or a row that is no permutation of 0 to N - 1.
    """
    order_BN = as_array("order", order, f"are {num_tokens} positions, for all images or for each")
    if order_BN.shape not in ((num_tokens,), (batch_size, num_tokens)):
        raise UserError(
            f"order: got shape {order_BN.shape}, allowed are ({num_tokens},) and "
            f"({batch_size}, {num_tokens})"
        )
    if not np.issubdtype(order_BN.dtype, np.integer):
        raise UserError(f"order: got type {order_BN.dtype}, allowed are integers")
    order_BN = np.broadcast_to(order_BN, (batch_size, num_tokens))
    is_wrong_B = (np.sort(order_BN, axis=1) != np.arange(num_tokens)[None]).any(axis=1)
    if is_wrong_B.any():
        row = int(is_wrong_B.argmax())
        missing = np.setdiff1d(np.arange(num_tokens), order_BN[row])
        raise UserError(
            f"order: got one for image {row} that lacks {missing.size} of the positions, the "
            f"first {missing[0]}; allowed are permutations of 0 to {num_tokens - 1}"
        )
    return order_BN.astype(np.int32)
