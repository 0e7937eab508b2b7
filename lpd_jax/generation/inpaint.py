"""Pictures, masks and labels in; the pictures with what the masks cover drawn anew out.

A tokenizer looks at a picture as a whole: what lies under the mask shows in the tokens around it.
Where nothing of use lies there, an edit is painted twice. The first draft goes by the picture's
edges, continued; it is what the tokenizer sees under the mask when the known tokens are made anew.
Letters: B images, H height, W width, C channels, N tokens per image.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lpd_jax.decoding import known_tokens
from lpd_jax.decoding.scan import Known
from lpd_jax.generation import masks
from lpd_jax.generation.pillow import as_arrays
from lpd_jax.generation.request import Request, label_list, make_request
from lpd_jax.models.family import tokenizer_of, transformer_of
from lpd_jax.runtime.arguments import as_array, check_flag, check_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.directory_config import DirectoryConfig

# Steps depend on the mask, and pixels that stay have the size they have.
REFUSED = ("group_sizes", "output_size")

MOST_SEAM = 4096  # pixels; more than any picture has


class Model(Protocol):
    """What editing asks of a pipeline."""

    config: DirectoryConfig

    @property
    def grid_size(self) -> tuple[int, ...]: ...

    @property
    def image_size(self) -> tuple[int, ...]: ...

    def encode(self, images_BHWC: Any) -> np.ndarray: ...

    def decode(self, tokens_BN: Any) -> np.ndarray: ...

    def draw(self, request: Request) -> tuple[np.ndarray, np.ndarray]: ...


class Edited(NamedTuple):
    """What came of an edit."""

    images_BHWC: np.ndarray  # uint8
    mask_BHW: np.ndarray  # bool, the pixels that were repainted
    tokens_BN: np.ndarray | None = None  # int32, raster order; not of canvases


class Part(NamedTuple):
    """Images of an edit that keep the same number of tokens, and so run together."""

    rows_B: np.ndarray
    known_BN: np.ndarray  # bool by raster position
    request: Request  # `known` is filled in by `with_known`; without steps to take, not used


def inpaint(
    model: Model,
    images: Any,
    labels: Any,
    *,
    mask: Any = None,
    box: Sequence[int] | None = None,
    ignore_hidden: bool = False,
    keep_reconstruction: bool = False,
    seam: int | None = None,
    **choices: Any,
) -> Edited:
    """Draws anew what a mask covers; see `Pipeline.inpaint`."""
    factor = pixels_per_token(model)
    images_BHWC = checked_images(images)
    if images_BHWC.shape[1:3] != model.image_size:
        raise UserError(
            f"images: got {images_BHWC.shape[1:3]} pixels, allowed are the model's "
            f"{model.image_size}; images.adm_center_crop cuts to a size"
        )
    seam = checked_seam(seam, factor)
    check_flag("ignore_hidden", ignore_hidden)
    check_flag("keep_reconstruction", keep_reconstruction)
    mask_BHW = masks.pixel_mask(mask, box, model.image_size, model.grid_size)
    images_BHWC, mask_BHW, labels = same_number(
        images=images_BHWC, mask=mask_BHW, labels=label_list(labels)
    )
    parts = make_parts(model, labels, masks.known_tokens(mask_BHW, factor), choices)

    seen_BHWC = images_BHWC
    if ignore_hidden:
        draft_BHWC, _ = paint(model, parts, masks.continue_edges(images_BHWC, mask_BHW))
        seen_BHWC = masks.paste_back(images_BHWC, draft_BHWC, mask_BHW, seam)
    painted_BHWC, tokens_BN = paint(model, parts, seen_BHWC)
    if not keep_reconstruction:
        painted_BHWC = masks.paste_back(images_BHWC, painted_BHWC, mask_BHW, seam)
    return Edited(painted_BHWC, mask_BHW, tokens_BN)


def requests_of_edit(model: Model, request: Request, mask: Any, box: Any) -> list[Request]:
    """What an edit with such a mask draws, for images like those of a request: to be compiled."""
    factor = pixels_per_token(model)
    mask_BHW = masks.pixel_mask(mask, box, model.image_size, model.grid_size)
    labels, mask_BHW = same_number(labels=request.labels, mask=mask_BHW)
    rows = np.arange(len(labels)) % len(request.labels)
    whole = request._replace(labels=labels, order=request.order[rows])
    # Which tokens are known is data; the order, which takes time to make, is too.
    parts = cut_parts(whole, masks.known_tokens(mask_BHW, factor), model.grid_size, False)
    return [part.request for part in parts if not part.known_BN.all()]


def paint(
    model: Model, parts: Sequence[Part], seen_BHWC: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 and tokens `[B, N]`: those of `seen_BHWC` where known, the rest drawn."""
    tokens_BN = model.encode(seen_BHWC)
    painted_BHWC = np.empty_like(seen_BHWC)
    for part in parts:
        rows = part.rows_B
        if part.known_BN.all():
            painted_BHWC[rows] = model.decode(tokens_BN[rows])
            continue
        request = with_known(part, tokens_BN[rows])
        painted_BHWC[rows], drawn_BN = model.draw(request)
        tokens_BN[rows] = checked_drawn(part, tokens_BN[rows], drawn_BN)
    return painted_BHWC, tokens_BN


def pixels_per_token(model: Model) -> int:
    """Side of a token in pixels, once it is clear that the model can edit.

    Raises:
        UserError: as `check_can_edit`.
    """
    check_can_edit(model.config, f"{model.config.where}: got")
    return tokenizer_of(model.config.need("tokenizer")).size_of((1, 1))[0]


def check_can_edit(config: DirectoryConfig, got: str) -> None:
    """Raises UserError for a model that has but one order, draws clips, or has no tokenizer.

    Args:
        got: how the error begins, "model: got 'avatars12_par',".
    """
    if config.draws_clips:
        raise UserError(f"{got} a model of clips, allowed for editing are those of pictures")
    family = transformer_of(config.need("transformer"))
    if not family.any_order:
        raise UserError(
            f"{got} a {family.title} transformer, which draws in one order "
            "only, so known tokens cannot come first; allowed for editing are models of any order"
        )
    config.need("tokenizer")


def checked_images(images: Any) -> np.ndarray:
    """One or more pictures, uint8 `[B, H, W, 3]`."""
    allowed = "is uint8 [height, width, 3] or [batch, height, width, 3]"
    images_BHWC = as_array("images", as_arrays(images, may_turn=False), allowed)
    if images_BHWC.ndim == 3:
        images_BHWC = images_BHWC[None]
    shape = images_BHWC.shape
    if images_BHWC.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or not all(shape):
        raise UserError(f"images: got {images_BHWC.dtype} {np.shape(images)}, allowed {allowed}")
    return images_BHWC


def checked_seam(seam: int | None, factor: int) -> int:
    """Pixels over which new and old pixels blend: a token's side if nobody says."""
    return factor if seam is None else check_whole("seam", seam, 0, MOST_SEAM)


def same_number(**groups: Any) -> list[Any]:
    """Repeats what comes once as often as the others come: one picture with three labels.

    Raises:
        UserError: two numbers other than one.
    """
    counts = {name: len(group) for name, group in groups.items()}
    number = max(counts.values())
    if any(count not in (1, number) for count in counts.values()):
        got = ", ".join(map(str, counts.values()))
        raise UserError(
            f"{', '.join(counts)}: got {got}, allowed is one of each, or the same number"
        )
    return [
        np.repeat(group, number // len(group), axis=0)
        if isinstance(group, np.ndarray)
        else group * (number // len(group))
        for group in groups.values()
    ]


def make_parts(
    model: Model, labels: Sequence[Any], known_BN: np.ndarray, choices: Mapping[str, Any]
) -> list[Part]:
    """Checks the choices, and cuts the images into parts that each run as one.

    Args:
        labels: one an image.
        known_BN: bool by raster position.
        choices: those of a call, for a whole picture: `num_steps` of it, its `order`.
    """
    for name in REFUSED:
        if choices.get(name) is not None:
            raise UserError(f"{name}: got {shown(choices[name])}, allowed in editing is None")
    whole = make_request(model.config, labels, **choices)
    by_locality = whole.generation.order == "locality" and isinstance(
        choices.get("order"), str | None
    )
    return cut_parts(whole, known_BN, model.grid_size, by_locality)


def cut_parts(
    whole: Request, known_BN: np.ndarray, grid: tuple[int, ...], by_locality: bool
) -> list[Part]:
    """Parts of a request, of which tokens are known."""
    whole = as_drawn(whole)
    num_known_B = known_BN.sum(axis=1)
    parts = []
    for num_known in np.unique(num_known_B).tolist():
        rows_B = np.flatnonzero(num_known_B == num_known)
        request = whole._replace(
            labels=whole.labels[rows_B],
            order=whole.order[rows_B],
            image_index=rows_B,
        )
        part = Part(rows_B, known_BN[rows_B], request)
        # With all known there is nothing to draw; with none it is a picture like any other.
        has_both = 0 < num_known < known_BN.shape[1]
        parts.append(plan(part, num_known, grid, by_locality) if has_both else part)
    return parts


def as_drawn(whole: Request) -> Request:
    """The same of pictures that keep their size, whatever the model was made for."""
    return whole._replace(generation=dataclasses.replace(whole.generation, output_size=None))


def plan(part: Part, num_known: int, grid: tuple[int, ...], by_locality: bool) -> Part:
    """Puts known tokens first; the locality-aware order of the rest counts them as drawn."""
    request, generation = part.request, part.request.generation
    num_tokens = part.known_BN.shape[1]
    frame = known_tokens.make_frame(num_tokens, num_known, request.schedule.num_steps)
    order_BN = known_tokens.known_first(request.order, part.known_BN)
    if by_locality:
        order_BN[:, num_known:] = known_tokens.locality_order_of_rest(
            (grid[0], grid[1]),
            known_tokens.left_schedule(num_tokens - num_known, frame),
            part.known_BN,
            part.rows_B,
            seed=request.seed,
            proximity_threshold=generation.proximity_threshold,
            repulsion_threshold=generation.repulsion_threshold,
        )
    known = Known(
        np.zeros((len(order_BN), frame.most_known), np.int32),
        known_tokens.frame_table(num_tokens, num_known, frame),
    )
    return part._replace(
        request=request._replace(order=order_BN, schedule=frame.schedule, known=known)
    )


def with_known(part: Part, tokens_BN: np.ndarray) -> Request:
    """The request of a part, given the tokens of its images; of those to draw it sees none."""
    request = part.request
    if request.known is None:
        return request
    kept_BN = np.where(part.known_BN, tokens_BN, 0)
    ranked_BN = np.take_along_axis(kept_BN, request.order, axis=1)
    most_known = request.known.tokens_BK.shape[1]
    return request._replace(known=request.known._replace(tokens_BK=ranked_BN[:, :most_known]))


def checked_drawn(part: Part, tokens_BN: np.ndarray, drawn_BN: np.ndarray) -> np.ndarray:
    """What was drawn, once it is certain that known tokens came back untouched."""
    assert (drawn_BN == tokens_BN)[part.known_BN].all(), "an edit changed known tokens"
    return drawn_BN
