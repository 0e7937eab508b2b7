"""What is asked for, checked against what the model is, before any weights are read.

Letters: B images, N tokens per image.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.decoding.order import MOST_CELLS
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation.choices import takes_choices
from lpd_jax.models.family import transformer_of
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.arguments import as_list, check_whole, nearest
from lpd_jax.runtime.errors import UserError, listed, shown
from lpd_jax.weights.directory_config import DirectoryConfig

MOST_IMAGES = 10**6  # of a request: FID asks for 50,000
DIGITS = re.compile(r"\s*\d{1,18}\s*")  # a class number; Python refuses to read thousands of digits


class Request(NamedTuple):
    """A checked order for pictures: one row per image, and what all of them share."""

    labels: np.ndarray  # int32 [B]
    order: np.ndarray  # int32 [B, N], generation rank -> raster position
    schedule: GroupSchedule
    generation: Generation  # all choices, filled in
    image_index: np.ndarray | None = None  # int [B], which images of the seed; None: 0, 1, 2, ...
    known: Known | None = None  # of an edit: see `inpaint`

    @property
    def sampling(self) -> Sampling:
        return self.generation.sampling

    @property
    def guidance(self) -> Guidance:
        return self.generation.guidance

    @property
    def seed(self) -> int:
        return self.generation.seed


@takes_choices
def make_request(
    config: DirectoryConfig, labels: int | str | Sequence[int | str] | np.ndarray, **choices: Any
) -> Request:
    """Fills in what the model was made for and checks everything.

    Args:
        config: of a model directory.
        labels: class numbers or class names, one or many.

    Raises:
        UserError: names the argument, its value and what is allowed.
    """
    model = config.need("transformer")
    family = transformer_of(model)
    order = choices.get("order")
    if order is not None and not isinstance(order, str):  # the user's own, which is data
        choices = choices | {"order": None}
    generation = config.generation.updated(choices)
    generation = generation.updated({"dtype": generation.computed_in})
    labels_B = resolve_labels(labels, model.num_classes, config.class_names)
    if len(labels_B) > (most := MOST_CELLS // model.num_tokens):
        raise UserError(f"labels: got {len(labels_B):,} of them, allowed are {most:,} at once")
    schedule = family.schedule(generation.num_steps, generation.group_sizes)
    if generation.top_k > model.codebook_size:
        raise UserError(
            f"top_k: got {generation.top_k}, allowed are 0 (all) to {model.codebook_size} codes"
        )
    order_BN = family.orders(
        generation.order if order is None else order,
        schedule,
        len(labels_B),
        generation.seed,
        proximity_threshold=generation.proximity_threshold,
        repulsion_threshold=generation.repulsion_threshold,
    )
    return Request(labels_B, order_BN, schedule, generation)


def check_request(request: Any, config: DirectoryConfig) -> Request:
    """The request, once it is one that a model of this config can draw."""
    if not isinstance(request, Request):
        raise UserError(f"request: got {shown(request)}, allowed is what `Pipeline.request` gives")
    model = config.need("transformer")
    got, wanted = request.order.shape[1], model.num_tokens
    if got != wanted:
        raise UserError(
            f"request: got one of {got} tokens, allowed is one of this model, of {wanted}"
        )
    check_rows(request)
    for label in (int(np.min(request.labels)), int(np.max(request.labels))):
        if not 0 <= label < model.num_classes:
            raise UserError(
                f"request: got class {label}, allowed are 0 to {model.num_classes - 1} of this "
                "model"
            )
    family = transformer_of(model)
    if not family.any_order:  # another model's order and schedule may be as long as its own
        schedule = family.schedule(None, request.schedule.group_sizes)
        family.orders(request.order, schedule, len(request.labels))
    return request


def check_rows(request: Request) -> None:
    """Raises UserError where labels, orders and numbers of a request are not of as many images."""
    numbers = request.labels if request.image_index is None else request.image_index
    counts = [len(request.labels), len(request.order), len(numbers)]
    if not counts[0] or len(set(counts)) > 1:
        got = ", ".join(map(str, counts))
        raise UserError(
            f"request: got labels, order, image_index of {got} images, allowed is the same number, "
            "1 or more"
        )


def resolve_labels(labels: Any, num_classes: int, class_names: Sequence[str]) -> np.ndarray:
    """Class numbers and names, one or many, as int32 `[B]`."""
    labels = label_list(labels)
    if not labels:
        raise UserError("labels: got shape (0,), allowed is a list of at least one")
    # One name may be written with different bytes: "é" is one character or two.
    names = [unicodedata.normalize("NFC", name) for name in class_names]
    return np.array([_resolve_label(x, num_classes, names) for x in labels], np.int32)


def label_list(labels: Any) -> list[Any]:
    """Labels, one or many, as a list; UserError for more than can be drawn."""
    allowed = f"is one class number or name, or a list of 1 to {MOST_IMAGES:,}"
    if isinstance(labels, str | bytes) or not np.iterable(labels):
        labels = [labels]
    elif hasattr(labels, "dtype"):  # of NumPy or of JAX, whose items one by one take long
        try:
            whole = np.asarray(labels)
        except Exception:  # noqa: BLE001 - an array of JAX that is traced or deleted, of Torch's on a GPU
            raise UserError(f"labels: got {shown(labels)}, allowed {allowed}") from None
        if whole.ndim != 1:
            raise UserError(f"labels: got {shown(whole)}, allowed {allowed}")
        check_none_missing(labels, whole)
        labels = whole
    items = as_list("labels", labels, allowed)
    if len(items) > MOST_IMAGES:
        raise UserError(f"labels: got {len(items)} of them, allowed {allowed}")
    return items


def check_none_missing(labels: Any, whole: np.ndarray) -> None:
    """Raises UserError for labels that are masked, or NaN, as tables read cells without a value."""
    missing_B = np.zeros(whole.shape, bool)
    if np.ma.isMaskedArray(labels):
        missing_B |= np.ma.getmaskarray(labels)
    if whole.dtype.kind == "f":
        missing_B |= np.isnan(whole)
    if missing_B.any():
        raise UserError(
            f"labels: got none at index {int(missing_B.argmax())}, where it is masked or NaN; "
            "allowed is a class number or name for each picture"
        )


def _resolve_label(label: Any, num_classes: int, class_names: Sequence[str]) -> int:
    if isinstance(label, str) and (name := unicodedata.normalize("NFC", label)) in class_names:
        first = class_names.index(name)
        if name in class_names[first + 1 :]:
            same = [number for number, other in enumerate(class_names) if other == name]
            raise UserError(
                f"labels: got {shown(label)}, the name of several classes; allowed is the number "
                f"of one: {listed(map(str, same))}"
            )
        return first
    if isinstance(label, str) and not DIGITS.fullmatch(label):
        allowed = f"0 to {num_classes - 1}" + (" and class names" if class_names else "")
        if 0 < len(class_names) <= 20:
            allowed += f" ({listed(class_names)})"
        hint = nearest(label, class_names)
        raise UserError(f"labels: got {shown(label)}, allowed are {allowed}{hint}")
    number = int(label) if isinstance(label, str) else label
    return check_whole("labels", number, 0, num_classes - 1)


def names_of(labels_B: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """What to write below pictures: the names of their classes, or "class 207" without names."""
    return [
        class_names[label] if label < len(class_names) else f"class {label}" for label in labels_B
    ]
