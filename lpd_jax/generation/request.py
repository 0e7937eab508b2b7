"""What is asked for, checked against what the model is, before any weights are read.

Letters: B images, N tokens per image.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.decoding.order import check_order, check_whole, make_order
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.scan import Known
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.models.family import TransformerConfig
from lpd_jax.models.par_layout import PARConfig, par_order, par_schedule
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.pretrained import model_config

MAX_SEED = 2**32 - 1
MAX_OUTPUT_SIZE = 4096

# What a model directory that does not say is used with; otherwise its `generation` decides. A None
# is the family's: see `generation_choices`.
GENERATION_DEFAULTS: dict[str, Any] = {
    "order": None,
    "num_steps": None,
    "guidance_scale": 1.0,
    "guidance_schedule": None,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "proximity_threshold": 1.0,
    "repulsion_threshold": None,
    "output_size": None,
}


class Request(NamedTuple):
    """A checked order for pictures: one row per image, and what all of them share."""

    labels: np.ndarray  # int32 [B]
    order: np.ndarray  # int32 [B, N], generation rank -> raster position
    schedule: GroupSchedule
    sampling: Sampling
    guidance: Guidance
    seed: int
    output_size: int | None = None  # height in pixels that pictures are resized to
    image_index: np.ndarray | None = None  # int [B], which images of the seed; None: 0, 1, 2, ...
    known: Known | None = None  # of an edit: see `editing`


def make_request(
    config: Mapping[str, Any],
    labels: int | str | Sequence[int | str] | np.ndarray,
    num_steps: int | None = None,
    group_sizes: Sequence[int] | None = None,
    order: str | np.ndarray | None = None,
    guidance_scale: float | None = None,
    guidance_schedule: str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    output_size: int | None = None,
    *,
    where: str = "this model",
) -> Request:
    """Fills in what the model was made for and checks everything.

    Args:
        config: of a model directory.
        where: what error messages call the model.

    Raises:
        ValueError: names the argument, its value and what is allowed.
    """
    model = model_config(config, "transformer", where)
    given = {
        "order": order,
        "num_steps": num_steps,
        "guidance_scale": guidance_scale,
        "guidance_schedule": guidance_schedule,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "output_size": output_size,
    }
    chosen = generation_choices(model, config.get("generation", {}))
    if group_sizes is not None:
        chosen["num_steps"] = None  # the sizes decide, not what the model was made for
    chosen |= {name: value for name, value in given.items() if value is not None}

    labels_B = resolve_labels(labels, model.num_classes, config.get("class_names", []))
    schedule = resolve_schedule(model, chosen["num_steps"], group_sizes)
    sampling = Sampling.make(chosen["temperature"], chosen["top_k"], chosen["top_p"])
    if chosen["top_k"] > model.codebook_size:
        raise UserError(
            f"top_k: got {chosen['top_k']}, allowed are 0 (all) to {model.codebook_size} codes"
        )
    guidance = Guidance.make(chosen["guidance_scale"], chosen["guidance_schedule"])
    seed = check_whole("seed", seed, 0, MAX_SEED)
    order_BN = resolve_order(model, chosen, schedule, len(labels_B), seed)
    output_size = check_output_size(chosen["output_size"])
    return Request(labels_B, order_BN, schedule, sampling, guidance, seed, output_size)


def check_output_size(size: int | None) -> int | None:
    """The size, once it is None or a height in pixels."""
    return None if size is None else check_whole("output_size", size, 1, MAX_OUTPUT_SIZE)


def resolve_labels(labels, num_classes: int, class_names: Sequence[str]) -> np.ndarray:
    """Class numbers and names, one or many, as int32 `[B]`."""
    if isinstance(labels, str) or np.ndim(labels) == 0:
        labels = [labels]
    if np.ndim(labels) != 1 or len(labels) == 0:
        raise UserError(f"labels: got shape {np.shape(labels)}, allowed is a list of at least one")
    return np.array([_resolve_label(x, num_classes, class_names) for x in labels], np.int32)


def _resolve_label(label, num_classes: int, class_names: Sequence[str]) -> int:
    if isinstance(label, str) and label in class_names:
        return class_names.index(label)
    if isinstance(label, str) and not label.strip().isdecimal():
        close = difflib.get_close_matches(label, class_names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        allowed = f"0 to {num_classes - 1}" + (" and class names" if class_names else "")
        if 0 < len(class_names) <= 20:
            allowed += f" ({', '.join(class_names)})"
        raise UserError(f"labels: got {label!r}, allowed are {allowed}{hint}")
    number = int(label) if isinstance(label, str) else label
    return check_whole("label", number, 0, num_classes - 1)


def names_of(labels_B: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """What to write below pictures: the names of their classes, or "class 207" without names."""
    return [
        class_names[label] if label < len(class_names) else f"class {label}" for label in labels_B
    ]


def generation_choices(model: TransformerConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, the defaults for the rest: LPD's order and guidance, or PAR's."""
    if isinstance(model, PARConfig):
        family = {"order": model.order_kind, "guidance_schedule": "constant"}
    else:
        family = {"order": "locality", "guidance_schedule": "linear"}
    given = {name: value for name, value in given.items() if value is not None}
    return GENERATION_DEFAULTS | family | given


def resolve_schedule(
    model: TransformerConfig, num_steps: int | None, group_sizes: Sequence[int] | None = None
) -> GroupSchedule:
    """The schedule that is asked for; PAR models have but their own.

    Raises:
        ValueError: see `make_schedule`, or a schedule that is not the model's.
    """
    if not isinstance(model, PARConfig):
        return make_schedule(model.num_tokens, num_steps, group_sizes)
    own = par_schedule(model)
    if num_steps is not None and num_steps != own.num_steps:
        raise UserError(
            f"num_steps: got {num_steps}, allowed is {own.num_steps}: this PAR model writes "
            f"{model.num_parallel} tokens at a time"
        )
    if group_sizes is not None and make_schedule(model.num_tokens, None, group_sizes) != own:
        raise UserError(
            f"group_sizes: got {list(group_sizes)}, allowed are this PAR model's "
            f"{model.num_singles} single tokens and then {model.num_parallel} at a time"
        )
    return own


def resolve_order(
    model: TransformerConfig,
    chosen: Mapping[str, Any],
    schedule: GroupSchedule,
    batch_size: int,
    seed: int,
) -> np.ndarray:
    """The order of each image, int32 `[B, N]`, from a kind or from the user's own array.

    Raises:
        ValueError: see `check_order` and `make_order`, or an order that a PAR model does not know.
    """
    order = chosen["order"]
    if isinstance(model, PARConfig):
        return own_order(model, order, batch_size)
    if not isinstance(order, str):
        return check_order(order, schedule.num_tokens, batch_size)
    return make_order(
        order,
        model.grid_size,
        schedule,
        num_orders=batch_size,
        seed=seed,
        proximity_threshold=chosen["proximity_threshold"],
        repulsion_threshold=chosen["repulsion_threshold"],
    )


def own_order(model: PARConfig, order: str | np.ndarray, batch_size: int) -> np.ndarray:
    """The one order of a PAR model, int32 `[B, N]`; ValueError where another is asked for."""
    own_BN, kind = np.tile(par_order(model), (batch_size, 1)), model.order_kind
    if isinstance(order, str):
        same, got = order == kind, repr(order)
    else:
        order_BN = check_order(order, model.num_tokens, batch_size)
        same, got = np.array_equal(order_BN, own_BN), "another array"
    if not same:
        raise UserError(f"order: got {got}, allowed is {kind!r}: this PAR model has no other")
    return own_BN
