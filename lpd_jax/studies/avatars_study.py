"""What the studies of the bundled pictures share: what they may judge, by what, and who draws."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lpd_jax import bundled
from lpd_jax.decoding.order_bank import first_orders
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.avatar_classifier import Classifier
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import provenance
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import steps_study

THRESHOLDS = ("proximity_threshold", "repulsion_threshold")
CHOICES = ("guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p")


class Yardstick(NamedTuple):
    """The training pictures as the classifier sees them, and what real pictures come to."""

    classifier: Classifier
    reference: metrics.Statistics
    num_reference: int
    floors: list[dict[str, Any]]
    sensitivity: list[dict[str, Any]]


def check_classes(config: Mapping[str, Any], name: str, classifier: Classifier) -> None:
    """Raises ValueError for a model of other classes, which would be judged by wrong ones."""
    names, size = config.get("class_names"), config.get("image_size")
    wanted = list(classifier.class_names), [classifier.image_size, classifier.image_size]
    if (names, size) != wanted:
        raise UserError(
            f"model: got {name!r} with classes {names} of {size} pixels, allowed are models of the "
            f"classes {wanted[0]} of {wanted[1]} pixels"
        )


def make_yardstick(pipe: Pipeline, classifier: Classifier) -> Yardstick:
    """Measures all real pictures; `pipe` holds the tokenizer that reconstructs some of them."""
    train_images, _ = bundled.load_avatars("train")
    validation = bundled.load_avatars("validation")
    reference = metrics.feature_statistics(classifier.features(train_images))
    floors = steps_study.floors(
        validation[0], reference, classifier, lambda images: pipe.decode(pipe.encode(images))
    )
    sensitivity = steps_study.sensitivity(*validation, reference, classifier)
    return Yardstick(classifier, reference, len(train_images), list(floors), list(sensitivity))


def pipeline_draw(pipe: Pipeline, protocol: steps_study.Protocol) -> steps_study.Draw:
    """A `Draw` that asks a pipeline; compilation is timed apart."""
    choices = {name: getattr(protocol, name) for name in (*CHOICES, "seed")}

    def draw(labels_B: np.ndarray, point: steps_study.Point) -> steps_study.Drawing:
        order = point_order(pipe, len(labels_B), point, protocol.seed)
        request = pipe.request(labels_B, order=order, num_steps=point.num_steps, **choices)
        compile_seconds = pipe.compile(request)
        start = time.perf_counter()
        images_BHWC, _ = pipe.draw(request)
        return steps_study.Drawing(images_BHWC, time.perf_counter() - start, compile_seconds)

    return draw


def point_order(
    pipe: Pipeline, num_images: int, point: steps_study.Point, seed: int
) -> str | np.ndarray:
    """The order of a point as a request takes it; locality orders by value, int32 `[B, N]`.

    They are those that the request would make, and come from a bank where there are many: models
    of one grid, and a study that is run again, do not make the same orders twice.
    """
    if point.order != "locality":
        return point.order
    one = pipe.request([0], order=point.order, num_steps=point.num_steps, seed=seed)
    made_for = pipe.config.get("generation", {})
    thresholds = {name: made_for[name] for name in THRESHOLDS if made_for.get(name) is not None}
    return first_orders(point.order, pipe.grid_size, one.schedule, num_images, seed, **thresholds)


def describe(protocol: steps_study.Protocol, yardstick: Yardstick) -> dict[str, Any]:
    """What a reader must know to compare or repeat a study."""
    accuracy = yardstick.classifier.validation_accuracy
    return dataclasses.asdict(protocol) | {
        "labels": "every class equally often",
        "reference": f"all {yardstick.num_reference} training pictures",
        "classifier accuracy on the validation pictures": f"{accuracy:.2%}",
        "commit": provenance.git_commit(),
    }
