"""Quality against decoding steps: which pictures are drawn, and how they are judged.

Every point (an order, a number of steps) draws the same labels from the same seeds; only the order
and the schedule differ. A finished draw is kept in a file under a name made of everything that it
depends on, so a study that was cut off goes on where it stopped.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm

from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.avatar_classifier import Classifier
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import corruptions, draws
from lpd_jax.studies.study_cache import read_cache, write_json
from lpd_jax.weights.model_directory import ModelFiles
from lpd_jax.weights.parameters import weights_digest

# From far too few to one token a step, by way of the published lists where there are some.
DEFAULT_STEPS = {
    256: (4, 8, 12, 20, 32, 64, 256),
    1024: (8, 16, 32, 48, 64, 128, 256, 1024),
}
NUM_OTHER_STEPS = 7


class Point(NamedTuple):
    """What varies. None is what all points share."""

    order: str
    num_steps: int
    seed: int | None = None
    proximity_threshold: float | None = None
    repulsion_threshold: int | None = None


class Drawing(NamedTuple):
    """The pictures of one point."""

    images_BHWC: np.ndarray  # uint8
    draw_seconds: float
    compile_seconds: float
    made_with: Mapping[str, Any] | None = None  # device, pictures at a time, versions


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """What all points share. Two studies compare only if all of it is equal."""

    model: str  # name or path, for the reader
    model_digest: str
    classifier_digest: str
    num_images: int
    generation: Generation  # but for its order and steps, which are the point's

    def generation_of(self, point: Point) -> Generation:
        """How the pictures of a point are drawn: every choice."""
        # Devices that like another dtype have another result.
        return self.generation.updated(point._asdict() | {"dtype": self.generation.computed_in})


Draw = Callable[[np.ndarray, Point], Drawing]


def default_steps(num_tokens: int) -> tuple[int, ...]:
    """Decoding steps of a study: seven or more from 4 to one token a step, evenly on a log axis.

    64 tokens -> (4, 6, 10, 16, 25, 40, 64).
    """
    if num_tokens in DEFAULT_STEPS:
        return DEFAULT_STEPS[num_tokens]
    steps = np.rint(np.geomspace(min(4, num_tokens), num_tokens, NUM_OTHER_STEPS)).astype(int)
    return tuple(sorted({int(step) for step in steps}))


def balanced_labels(num_images: int, num_classes: int, field: str = "num_images") -> np.ndarray:
    """int32 `[B]`: 0, 1, 2, ... in turn, every class equally often.

    Raises:
        UserError: a number of images that the classes do not divide.
    """
    if num_images < 1 or num_images % num_classes:
        raise UserError(
            f"{field}: got {num_images}, allowed are multiples of the {num_classes} classes"
        )
    return np.arange(num_images, dtype=np.int32) % num_classes


def run_seeds(
    points: Sequence[Point], seeds: Sequence[int], **options: Any
) -> list[dict[str, Any]]:
    """A row for each point over its draws from all seeds, by `draws.pool`.

    Args:
        seeds: none for that of the settings.
        **options: of `run_points`.
    """
    rows = run_points(each_seed(points, seeds), **options)
    size = max(1, len(seeds))
    return [draws.pool(rows[start : start + size]) for start in range(0, len(rows), size)]


def each_seed(points: Sequence[Point], seeds: Sequence[int]) -> list[Point]:
    """Every point from every seed: those of one point, which share a program, together."""
    return [point._replace(seed=seed) for point in points for seed in seeds] or list(points)


def run_points(
    points: Sequence[Point],
    settings: StudySettings,
    num_classes: int,
    draw: Draw,
    classifier: Classifier,
    reference: metrics.Statistics,
    cache_file: Path,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Draws and judges every point that `cache_file` does not hold yet; one row for each.

    Args:
        draw: makes the pictures of one point; a test passes a stand-in.
        reference: statistics of the real pictures.
    """
    labels_B = balanced_labels(settings.num_images, num_classes)
    known, rows = read_cache(cache_file), []
    bar = tqdm.tqdm(points, "study", unit="point", disable=not progress)
    for point in bar:
        told = {name: value for name, value in point._asdict().items() if value is not None}
        bar.set_postfix_str(", ".join(f"{name} {value}" for name, value in told.items()))
        key = point_key(point, settings)
        if key not in known:
            drawing = draw(labels_B, point)
            known[key] = judge(point, drawing, labels_B, classifier, reference)
            write_json(cache_file, known)
        rows.append(known[key])
    return rows


def judge(
    point: Point,
    drawing: Drawing,
    labels_B: np.ndarray,
    classifier: Classifier,
    reference: metrics.Statistics,
) -> dict[str, Any]:
    """One row of the result: plain numbers, ready for JSON."""
    if len(drawing.images_BHWC) != len(labels_B):
        raise ValueError(f"images: got {len(drawing.images_BHWC)}, allowed are {len(labels_B)}")
    features_BF = classifier.features(drawing.images_BHWC)
    statistics = metrics.feature_statistics(features_BF)
    return {
        "order": point.order,
        "num_steps": point.num_steps,
        "num_images": len(labels_B),
        "frechet_distance": metrics.frechet_distance(statistics, reference),
        "standard_deviation": metrics.frechet_spread(features_BF, reference),
        "class_agreement": classifier.accuracy(features_BF, labels_B),
        "draw_seconds": drawing.draw_seconds,
        "compile_seconds": drawing.compile_seconds,
    } | ({"made_with": dict(drawing.made_with)} if drawing.made_with else {})


def floors(
    images_BHWC: np.ndarray,
    reference: metrics.Statistics,
    classifier: Classifier,
    reconstruct: Callable[[np.ndarray], np.ndarray] | None,
) -> Iterator[dict[str, Any]]:
    """What no model of this tokenizer can beat by much: real pictures that were not trained on."""
    yield _reference_row("real validation pictures", images_BHWC, reference, classifier)
    if reconstruct is not None:
        pictures = reconstruct(images_BHWC)
        yield _reference_row("their reconstructions", pictures, reference, classifier)


def sensitivity(
    images_BHWC: np.ndarray,
    labels_B: np.ndarray,
    reference: metrics.Statistics,
    classifier: Classifier,
) -> Iterator[dict[str, Any]]:
    """How far known damage to real pictures moves the distance: the distance under test itself."""
    damaged = {
        f"{fraction:.0%} of {patch}x{patch} patches from another picture of the class": (
            corruptions.swap_patches(images_BHWC, labels_B, patch, fraction)
        )
        for patch in (4, 8, 16)
        for fraction in (0.05, 0.25)
    }
    damaged |= {
        f"blurred, sigma {sigma} px": corruptions.blur(images_BHWC, sigma) for sigma in (0.5, 1, 2)
    }
    damaged |= {
        f"noise, sigma {sigma} of 255": corruptions.add_noise(images_BHWC, sigma)
        for sigma in (8, 16, 32)
    }
    for name, pictures in damaged.items():
        yield _reference_row(name, pictures, reference, classifier)


def _reference_row(name, images_BHWC, reference, classifier) -> dict[str, Any]:
    statistics = metrics.feature_statistics(classifier.features(images_BHWC))
    distance = metrics.frechet_distance(statistics, reference)
    return {"name": name, "num_images": len(images_BHWC), "frechet_distance": distance}


def point_key(point: Point, settings: StudySettings) -> str:
    """Names a result by everything that it depends on, the name of the model aside."""
    parts = dataclasses.asdict(settings)
    parts["generation"] = dataclasses.asdict(settings.generation_of(point))
    del parts["model"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def model_digest(files: ModelFiles) -> str:
    """Names the models of a directory, by what they are and not by where they lie."""
    parts = (
        (files.transformer, files.config.transformer),
        (files.tokenizer, files.config.tokenizer),
    )
    return "-".join(
        weights_digest(params, config) for params, config in parts if params is not None
    )
