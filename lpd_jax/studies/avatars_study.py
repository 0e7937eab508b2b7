"""What the studies of the bundled pictures share: what they may judge, by what, and who draws."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from lpd_jax import bundled
from lpd_jax.decoding.order_bank import first_orders
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.avatar_classifier import Classifier
from lpd_jax.generation.batches import batch_size_for
from lpd_jax.models.settings import Generation
from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime import provenance
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.studies import steps_study
from lpd_jax.weights.directory_config import DirectoryConfig

# Fields of `Generation` that a study asks for. All points share them, and its report shows them.
CHOICES = ("seed", "guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p")
# Pictures drawn at once on an accelerator: beyond that a small model gains little, and memory has
# to do for several processes.
MOST_AT_ONCE = 512
MOST_FRAMES_AT_ONCE = 2048  # of clips: 120 of 17 frames


class Yardstick(NamedTuple):
    """The training pictures as the classifier sees them, and what real pictures come to."""

    classifier: Classifier
    reference: metrics.Statistics
    num_reference: int
    floors: list[dict[str, Any]]


def check_pictures(config: DirectoryConfig, name: str, where: str = "") -> None:
    """Raises UserError for a model of other pictures, which would be judged by wrong ones.

    Args:
        name: what the user calls the model.
        where: words on when this is asked for, after "allowed".
    """
    got = list(config.class_names), config.image_size
    wanted = list(bundled.CLASS_NAMES), (bundled.IMAGE_SIZE, bundled.IMAGE_SIZE)
    if got != wanted:
        raise UserError(
            f"model: got {shown(name)} with classes {got[0]} of {got[1]} pixels, allowed{where} "
            f"are models of the classes {wanted[0]} of {wanted[1]} pixels"
        )


def make_reference(classifier: Classifier) -> tuple[metrics.Statistics, int]:
    """All training pictures as the classifier sees them, and their number."""
    train_images, _ = bundled.load_avatars("train")
    return metrics.feature_statistics(classifier.features(train_images)), len(train_images)


def make_yardstick(pipe: Pipeline, classifier: Classifier) -> Yardstick:
    """Measures all real pictures; `pipe` holds the tokenizer that reconstructs some of them."""
    reference, num_reference = make_reference(classifier)
    floors = steps_study.floors(
        bundled.load_avatars("validation")[0],
        reference,
        classifier,
        lambda images: pipe.decode(pipe.encode(images)),
    )
    return Yardstick(classifier, reference, num_reference, list(floors))


def batch_size_of(num_images: int, most: int | None = None, num_frames: int = 1) -> int:
    """Pictures drawn at once: as many as `most` allows, so that batches are of one size.

    Args:
        most: None is `MOST_AT_ONCE` on an accelerator, and as many as the pipeline draws on a CPU.
        num_frames: of each, where they are clips.
    """
    if most is None:
        if jax.default_backend() == "cpu":
            return batch_size_for(num_images, num_frames)
        most = min(MOST_AT_ONCE, max(1, MOST_FRAMES_AT_ONCE // num_frames))
    return -(-num_images // -(-num_images // most))


def made_with(batch_size: int) -> dict[str, Any]:
    """What a time depends on beside the model: whoever writes the table may be another machine."""
    return {
        "device": provenance.device_name(),
        "batch_size": batch_size,
        **provenance.versions(),
        "commit": provenance.git_commit(),
    }


def pipeline_draw(
    pipe: Pipeline, settings: steps_study.StudySettings, most_at_once: int | None = None
) -> steps_study.Draw:
    """A `Draw` that asks a pipeline; compilation is timed apart.

    Seeds, orders and thresholds are data of one program for each number of steps: the pipeline
    keeps it.

    Args:
        most_at_once: see `batch_size_of`.
    """
    size = batch_size_of(settings.num_images, most_at_once)
    told = made_with(size)

    def draw(labels_B: np.ndarray, point: steps_study.Point) -> steps_study.Drawing:
        generation = settings.generation_of(point)
        order = point_order(pipe, len(labels_B), generation)
        request = pipe.request(labels_B, **vars(generation) | {"order": order})
        compile_seconds = pipe.compile(request, batch_size=size)
        start = time.perf_counter()
        images_BHWC, _ = pipe.draw(request, batch_size=size)
        seconds = time.perf_counter() - start
        return steps_study.Drawing(images_BHWC, seconds, compile_seconds, told)

    return draw


def point_order(pipe: Pipeline, num_images: int, generation: Generation) -> Any:
    """The order of a point as a request takes it; locality orders by value, int32 `[B, N]`.

    They are those that the request would make, and come from a bank where there are many: models
    of one grid, and a study that is run again, do not make the same orders twice.
    """
    if generation.order != "locality":
        return generation.order
    height, width = pipe.grid_size
    return first_orders(
        generation.order,
        (height, width),
        pipe.request([0], **vars(generation)).schedule,
        num_images,
        generation.seed,
        proximity_threshold=generation.proximity_threshold,
        repulsion_threshold=generation.repulsion_threshold,
    )


def describe_study(settings: steps_study.StudySettings, yardstick: Yardstick) -> dict[str, Any]:
    """What a reader must know to compare or repeat a study."""
    accuracy = yardstick.classifier.validation_accuracy
    return {
        "model": settings.model,
        "model_digest": settings.model_digest,
        "classifier_digest": settings.classifier_digest,
        "num_images": settings.num_images,
        **{name: getattr(settings.generation, name) for name in CHOICES},
        "labels": "every class equally often",
        "reference": f"all {yardstick.num_reference} training pictures",
        "classifier accuracy on the validation pictures": f"{accuracy:.2%}",
        "commit": provenance.git_commit(),
    }
