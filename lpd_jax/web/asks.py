"""What the page may ask of a model: JSON objects, checked field by field before anything waits.

Letters: H height, W width, h w cells of tokens.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lpd_jax.generation import inpaint, outpaint
from lpd_jax.generation.request import Request
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.models.settings import FIELDS
from lpd_jax.runtime.arguments import as_array, check_choice, check_flag
from lpd_jax.runtime.config_fields import check_known
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.json_files import parse_json
from lpd_jax.web import pictures

KINDS = ("draw", "inpaint", "edit_class", "outpaint")
# A page shows pictures of one size, as fast as they come.
CHOICES = tuple(name for name in FIELDS if name not in ("group_sizes", "output_size", "dtype"))
COMMON = ("model", "label", *CHOICES)
PAINT = ("picture", "mask", "ignore_hidden", "seam")
OUTPAINT = ("picture", *outpaint.SIDES, "overlap", "seam")
FIELDS_OF = {"draw": ("frames",), "inpaint": PAINT, "edit_class": PAINT, "outpaint": OUTPAINT}
MOST_SIDES = 4  # of the model's picture, in a canvas


@dataclasses.dataclass(frozen=True)
class Ask:
    """One thing to draw, checked.

    request: what a whole picture of these choices would be.
    options: of the edit, as the pipeline takes them; `mask_hw` is in cells of tokens.
    """

    kind: str
    model: str
    request: Request
    choices: Mapping[str, Any]
    frames: bool = True
    picture_HWC: np.ndarray | None = None
    mask_hw: np.ndarray | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object of a request's body; UserError for anything else."""
    try:
        value = parse_json(content)
    except UnicodeDecodeError:
        raise UserError(
            "body: got bytes that are no UTF-8, allowed is a JSON object, not compressed"
        ) from None
    except ValueError as error:
        raise UserError(
            f"body: got what cannot be read ({error}), allowed is a JSON object"
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"body: got {shown(value)}, allowed is a JSON object")
    return value


def read_ask(kind: str, body: Mapping[str, Any], pipes: Mapping[str, Any]) -> Ask:
    """Checks what is asked for, in full: what this lets through can be drawn.

    Args:
        kind: one of KINDS.
        body: the JSON object.
        pipes: the models by name, the first is the default.

    Raises:
        UserError: names the field, its value and what is allowed.
    """
    for name in body:
        check_known(name, (*COMMON, *FIELDS_OF[kind]))
    # Clients write null for what they leave out.
    body = {name: value for name, value in body.items() if value is not None}
    model = check_choice("model", body.get("model", next(iter(pipes))), pipes)
    pipe = pipes[model]
    label = body.get("label")
    if label is None or isinstance(label, list):
        raise UserError(f"label: got {shown(label)}, allowed is one class, by number or name")
    choices = {name: body[name] for name in CHOICES if name in body}
    if not isinstance(choices.get("order", ""), str):
        raise UserError(f"order: got {shown(choices['order'])}, allowed is the name of one")
    if choices.get("num_steps") == len(pipe.config.generation.group_sizes or ()):
        del choices["num_steps"]  # the page sends it always: the model's own sizes are meant
    try:
        request = pipe.request([label], **choices)
    except UserError as error:
        raise UserError(str(error).replace("labels: ", "label: ", 1)) from None
    # The page counts in cells of the model's own pictures, whatever size they are judged at.
    generation = dataclasses.replace(request.generation, output_size=None)
    request = request._replace(generation=generation)
    ask = Ask(kind, model, request, choices)
    if kind == "draw":
        frames = check_flag("frames", body.get("frames", True))
        return dataclasses.replace(ask, frames=frames)
    check_can_edit(model, pipe)
    if "picture" not in body:
        raise UserError("picture: got none, allowed is a picture file in base64")
    ask = dataclasses.replace(ask, picture_HWC=pictures.from_text("picture", body["picture"]))
    return (
        checked_outpaint(ask, body, pipe) if kind == "outpaint" else checked_paint(ask, body, pipe)
    )


def check_can_edit(model: str, pipe: Any) -> None:
    family = transformer_of(pipe.config.need("transformer"))
    if pipe.config.draws_clips:
        raise UserError(
            f"model: got {shown(model)}, which draws clips; allowed for editing are those of "
            "pictures"
        )
    if not family.any_order:
        raise UserError(
            f"model: got {shown(model)}, a {family.title} model, which draws in one order only; "
            "allowed for editing are models of any order"
        )


def pixels_per_cell(pipe: Any) -> int:
    axes = (1,) * len(pipe.grid_size)
    return tokenizer_of(pipe.config.need("tokenizer")).size_of(axes)[-1]


def checked_paint(ask: Ask, body: Mapping[str, Any], pipe: Any) -> Ask:
    """With the mask, and the options of inpainting."""
    picture_HWC, cell = ask.picture_HWC, pixels_per_cell(pipe)
    assert picture_HWC is not None  # `read_ask` has it
    height, width = size = picture_HWC.shape[:2]
    check_size("picture", size, pipe, cell)
    grid = (height // cell, width // cell)
    allowed = f"are {grid[0]} rows of {grid[1]} numbers, 1 where to repaint and 0 elsewhere"
    if "mask" not in body:
        raise UserError(f"mask: got none, allowed {allowed}")
    mask_hw = as_array("mask", body["mask"], allowed)
    if (
        mask_hw.shape != grid
        or mask_hw.dtype.kind not in "bi"
        or not np.isin(mask_hw, (0, 1)).all()
    ):
        raise UserError(f"mask: got {shown(mask_hw)}, allowed {allowed}")
    mask_hw = mask_hw.astype(bool)
    if not mask_hw.any():
        raise UserError("mask: got one that repaints nothing, allowed is one that repaints a cell")
    window_for(mask_hw, pipe.grid_size)
    options = {
        "ignore_hidden": check_flag("ignore_hidden", body.get("ignore_hidden", False)),
        "seam": inpaint.checked_seam(body.get("seam"), cell),
    }
    return dataclasses.replace(ask, mask_hw=mask_hw, options=options)


def checked_outpaint(ask: Ask, body: Mapping[str, Any], pipe: Any) -> Ask:
    """With the sides, and the options of outpainting."""
    picture_HWC, cell, window = ask.picture_HWC, pixels_per_cell(pipe), pipe.image_size
    assert picture_HWC is not None  # `read_ask` has it
    sides = {side: body.get(side, 0) for side in outpaint.SIDES}
    canvas = outpaint.lay_out(picture_HWC.shape[:2], sides, cell, window).canvas
    check_size(", ".join(sides), canvas, pipe, cell)
    overlap = body.get("overlap")
    outpaint.checked_overlap(overlap, cell, window)
    seam = inpaint.checked_seam(body.get("seam"), cell)
    options = {**sides, "overlap": overlap, "seam": seam}
    return dataclasses.replace(ask, options=options)


def check_size(name: str, size: tuple[int, ...], pipe: Any, cell: int) -> None:
    """Raises UserError for a canvas that is smaller than the model's picture, or far larger."""
    least = pipe.image_size
    most = tuple(MOST_SIDES * side for side in least)
    in_range = all(low <= x <= high for x, low, high in zip(size, least, most, strict=True))
    if not in_range or any(side % cell for side in size):
        raise UserError(
            f"{name}: got a canvas of {size[0]}x{size[1]} pixels, allowed are "
            f"{least[0]}x{least[1]} to {most[0]}x{most[1]}, in multiples of {cell}"
        )


def window_for(mask_hw: np.ndarray, grid: tuple[int, ...]) -> tuple[slice, slice]:
    """The cells that the model looks at: of its own size, around all that is repainted.

    Raises:
        UserError: more is masked than one window holds.
    """
    area = []
    for axis, length in enumerate(grid):
        masked = np.flatnonzero(mask_hw.any(axis=1 - axis))
        first, last = int(masked[0]), int(masked[-1]) + 1
        if last - first > length:
            raise UserError(
                f"mask: got cells {last - first} apart, allowed at once are {math.prod(grid)} "
                f"cells, {'x'.join(map(str, grid))}"
            )
        start = (first + last - length) // 2
        start = min(max(start, 0), mask_hw.shape[axis] - length)
        area.append(slice(start, start + length))
    return area[0], area[1]
