"""How a picture comes about: what it looks like after each decoding step.

Letters: B images, N tokens per image, H height, W width, C channels.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from lpd_jax.decoding.grid import check_order
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation.request import Request
from lpd_jax.images import resize_bicubic, to_model_range, to_uint8
from lpd_jax.runtime.arguments import as_array
from lpd_jax.runtime.errors import UserError, shown

UNDRAWN = 160  # grey of cells that are still to come


class Model(Protocol):
    """What a replay asks of a pipeline."""

    def draw(self, request: Request) -> Any: ...

    def partial_images(
        self, tokens_BN: np.ndarray, order_BN: np.ndarray, schedule: GroupSchedule
    ) -> Iterator[np.ndarray]: ...


def replay(model: Model, request: Request, drawn: Any = None) -> Iterator[np.ndarray]:
    """Yields the pictures of a request after each step, at last as they were drawn.

    Args:
        drawn: its pictures and tokens; None draws them.
    """
    images_BHWC, tokens_BN = model.draw(request) if drawn is None else drawn
    steps = model.partial_images(tokens_BN, request.order, request.schedule)
    for _ in range(request.schedule.num_steps - 1):
        step_BHWC = next(steps)
        if step_BHWC.shape != images_BHWC.shape:  # the request has an output_size
            pixels_BHWC = resize_bicubic(to_model_range(step_BHWC), images_BHWC.shape[-3:-1])
            step_BHWC = np.array(to_uint8(pixels_BHWC))  # JAX's own is read-only
        yield step_BHWC
    yield images_BHWC


def partial_images(
    decode: Callable[[np.ndarray], np.ndarray],
    tokens_BN: np.ndarray,
    order_BN: np.ndarray,
    schedule: GroupSchedule,
    grid: tuple[int, ...],
) -> Iterator[np.ndarray]:
    """The pictures uint8 `[B, H, W, 3]` after each step, cells still to come in grey.

    The decoder needs a token in every cell: an empty one takes that of the nearest drawn cell, so
    that nothing of what is yet to come shows at the seams.

    Args:
        decode: tokens `[B, N]` in raster order to pictures uint8 `[B, H, W, 3]`.
    """
    if not isinstance(schedule, GroupSchedule):
        raise UserError(f"schedule: got {shown(schedule)}, allowed is a GroupSchedule")
    if schedule.num_tokens != (wanted := math.prod(grid)):
        raise UserError(f"schedule: got {schedule.num_tokens} tokens, allowed are {wanted}")
    allowed = f"are whole numbers [batch, {schedule.num_tokens}]"
    tokens_BN = as_array("tokens_BN", tokens_BN, allowed)
    if tokens_BN.ndim != 2 or tokens_BN.shape[1] != schedule.num_tokens:
        raise UserError(f"tokens_BN: got {shown(tokens_BN)}, allowed {allowed}")
    order_BN = check_order(order_BN, schedule.num_tokens, len(tokens_BN))
    distance_NN = _cell_distances(grid)
    rank_BN = np.argsort(order_BN, axis=1)
    for end in np.cumsum(schedule.group_sizes):
        drawn_BN = rank_BN < end
        images_BHWC = decode(_fill_from_nearest(tokens_BN, drawn_BN, distance_NN))
        shown_BHW = _cells_to_pixels(drawn_BN, grid, images_BHWC.shape[1:-1])
        yield np.where(shown_BHW[..., None], images_BHWC, np.uint8(UNDRAWN))


def _cell_distances(grid: tuple[int, ...]) -> np.ndarray:
    """Squared distances between raster positions, float32 `[N, N]`."""
    cells_NA = np.stack(np.unravel_index(np.arange(math.prod(grid)), grid), axis=-1)
    offsets_NNA = cells_NA[:, None] - cells_NA[None]
    return (offsets_NNA**2).sum(-1).astype(np.float32)


def _fill_from_nearest(
    tokens_BN: np.ndarray, drawn_BN: np.ndarray, distance_NN: np.ndarray
) -> np.ndarray:
    """Tokens with every undrawn one replaced by that of the nearest drawn cell."""
    filled = []
    for tokens_N, drawn_N in zip(tokens_BN, drawn_BN, strict=True):
        source_N = np.where(drawn_N[None], distance_NN, np.inf).argmin(axis=1)
        filled.append(tokens_N[source_N])
    return np.stack(filled)


def _cells_to_pixels(
    cells_BN: np.ndarray, grid: tuple[int, ...], image_size: tuple[int, ...]
) -> np.ndarray:
    """bool `[B, N]` per cell -> bool `[B, H, W]` per pixel, `[B, T, H, W]` of clips.

    The first cell of a clip is one frame, the others share those that follow.
    """
    *frames, height, width = zip(grid, image_size, strict=True)
    cells = [-(-np.arange(size) * (count - 1) // max(1, size - 1)) for count, size in frames]
    cells += [np.arange(size) * count // size for count, size in (height, width)]
    return cells_BN.reshape(-1, *grid)[np.ix_(np.arange(len(cells_BN)), *cells)]
