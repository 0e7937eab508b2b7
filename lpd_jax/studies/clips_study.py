"""Models of clips beside each other: what is drawn, how it is judged, what the distance reacts to.

As in `steps_study` a finished entry is kept in a file, under a name made of all that it depends on
but the device: entries that were made on several machines become one table.

Letters: B clips, T frames, H height, W width, C channels, N tokens of a clip.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.data.moving_avatars import NAMES
from lpd_jax.decoding.order_bank import first_orders
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.clip_classifier import ClipClassifier
from lpd_jax.evaluation.drawn_pictures import Drawer
from lpd_jax.generation.request import Request, make_request
from lpd_jax.generation.runner import Runner
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.studies import clip_damage, steps_study
from lpd_jax.studies.avatars_study import batch_size_of, made_with
from lpd_jax.studies.model_entries import Entry
from lpd_jax.studies.study_cache import write_json
from lpd_jax.weights.directory_config import DirectoryConfig

# Fields of `Generation` that a study asks for; what nobody asks for is each model's own.
CHOICES = ("guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p", "dtype")
AVERAGED = ("frechet_distance", "class_agreement", "motion_agreement", "draw_seconds")


def check_clips(config: DirectoryConfig, name: str, shape: tuple[int, ...]) -> None:
    """Raises UserError for a model of other clips, which would be judged by wrong ones.

    Args:
        config: of the model.
        name: what the user calls it.
        shape: frames, height and width of the clips that can be judged.
    """
    got = list(config.class_names), config.image_size
    if got != (list(NAMES), shape):
        raise UserError(
            f"models: got {shown(name)} with classes {got[0]} of {got[1]}, allowed are models of "
            f"the classes of moving_avatars, {', '.join(NAMES)}, whose clips are {shape}: frames, "
            "height and width"
        )


class Tokenizer(NamedTuple):
    """That of all models of a study."""

    digest: str
    reconstruct: Callable[[np.ndarray], np.ndarray]  # clips of any number


class EntryDrawer:
    """A model that is put on the device when it first draws."""

    def __init__(self, entry: Entry, most_at_once: int | None):
        """Args:
        entry: of any seed.
        most_at_once: see `batch_size_of`; no clip depends on it.
        """
        self.entry, self.most_at_once = entry, most_at_once

    @functools.cached_property
    def runner(self) -> Runner:
        return Drawer(self.entry.files, self.entry.settings.model).runner

    def draw_one(self) -> None:
        """One clip by itself, to be timed: compiled when it is first called."""
        request = request_of(self.entry, len(NAMES))
        alone = request._replace(labels=request.labels[:1], order=request.order[:1])
        list(self.runner.run(alone, to_images=True, batch_size=1))

    def draw(self, entry: Entry) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """All clips and tokens of an entry of this model, what made them, and how long it took."""
        request = request_of(entry, entry.settings.num_images)
        num_frames = entry.files.config.num_frames
        size = batch_size_of(len(request.labels), self.most_at_once, num_frames)
        self.runner.compile(request, size)
        start = time.perf_counter()
        parts = list(self.runner.run(request, to_images=True, batch_size=size))
        about = {"draw_seconds": time.perf_counter() - start, "made_with": made_with(size)}
        clips_BTHWC, tokens_BN = (np.concatenate(part) for part in zip(*parts, strict=True))
        return clips_BTHWC, tokens_BN, about


def rows_of(
    entries: Iterable[Entry],
    drawer: EntryDrawer,
    classifier: ClipClassifier,
    known: dict[str, Any],
    cache_file: Path,
) -> list[dict[str, Any]]:
    """A row for each entry of one model, drawn now if it is not known.

    `known` and its file then know it.
    """
    rows = []
    for entry in entries:
        key = steps_study.point_key(entry.point, entry.settings)
        if key not in known:
            known[key] = judge(entry, drawer, classifier)
            write_json(cache_file, known)
        rows.append(known[key])
    return rows


def judge(entry: Entry, drawer: EntryDrawer, classifier: ClipClassifier) -> dict[str, Any]:
    """Draws all clips of an entry: plain numbers, and the tokens of a clip of each class."""
    clips_BTHWC, tokens_BN, about = drawer.draw(entry)
    labels_B = steps_study.balanced_labels(len(clips_BTHWC), len(NAMES))
    return {
        "order": entry.point.order,
        "num_steps": entry.point.num_steps,
        **seen(clips_BTHWC, labels_B, classifier),
        **about,
        "tokens": [" ".join(map(str, tokens_N)) for tokens_N in tokens_BN[: len(NAMES)]],
    }


def seen(
    clips_BTHWC: np.ndarray, labels_B: np.ndarray, classifier: ClipClassifier
) -> dict[str, Any]:
    """What the classifier makes of clips: plain numbers."""
    features_BF = classifier.features(clips_BTHWC)
    statistics = metrics.feature_statistics(features_BF)
    return {
        "num_images": len(clips_BTHWC),
        "frechet_distance": metrics.frechet_distance(statistics, classifier.reference),
        "standard_deviation": metrics.frechet_spread(features_BF, classifier.reference),
        "class_agreement": classifier.accuracy(features_BF, labels_B),
        "motion_agreement": classifier.motion_agreement(features_BF, labels_B),
    }


def request_of(entry: Entry, num_clips: int) -> Request:
    """Every class equally often; locality orders, which take long, come from a bank."""
    labels_B = steps_study.balanced_labels(num_clips, len(NAMES))
    chosen, config = entry.settings.generation_of(entry.point), entry.files.config
    if chosen.order != "locality":
        return make_request(config, labels_B, **vars(chosen))
    request = make_request(config, labels_B[:1], **vars(chosen))
    order_BN = first_orders(
        "locality",
        config.need("transformer").grid_size,
        request.schedule,
        num_clips,
        chosen.seed,
        proximity_threshold=chosen.proximity_threshold,
        repulsion_threshold=chosen.repulsion_threshold,
    )
    return request._replace(labels=labels_B, order=order_BN)


def tokens_of(row: Mapping[str, Any]) -> np.ndarray:
    """Tokens int32 `[B, N]` of the clips to show, one of each class."""
    return np.array([text.split() for text in row["tokens"]]).astype(np.int32)


def floors(
    real: tuple[np.ndarray, np.ndarray],
    classifier: ClipClassifier,
    tokenizer: Tokenizer,
    known: dict[str, Any],
    cache_file: Path,
) -> list[dict[str, Any]]:
    """What no model of this tokenizer can beat by much: real clips that were not trained on.

    Args:
        real: clips and labels.
        classifier: judges them.
        tokenizer: whose reconstructions are kept like the draws of an entry: they take long.
        known, cache_file: what is kept.
    """
    clips_BTHWC, labels_B = real
    key = f"reconstructions-{classifier.digest}-{tokenizer.digest}-{len(labels_B)}"
    if key not in known:
        start = time.perf_counter()
        again_BTHWC = tokenizer.reconstruct(clips_BTHWC)
        seconds = time.perf_counter() - start
        known[key] = seen(again_BTHWC, labels_B, classifier) | {"draw_seconds": seconds}
        write_json(cache_file, known)
    row = {"name": "real validation clips", **seen(clips_BTHWC, labels_B, classifier)}
    return [row, {"name": "their reconstructions", **known[key]}]


def sensitivity(
    clips_BTHWC: np.ndarray, labels_B: np.ndarray, classifier: ClipClassifier
) -> Iterator[dict[str, Any]]:
    """How far known damage to real clips moves the distance: the distance under test itself."""
    for name, broken_BTHWC in clip_damage.tests(clips_BTHWC, labels_B):
        yield measured(name, broken_BTHWC, classifier)


def measured(name: str, clips_BTHWC: np.ndarray, classifier: ClipClassifier) -> dict[str, Any]:
    statistics = metrics.feature_statistics(classifier.features(clips_BTHWC))
    distance = metrics.frechet_distance(statistics, classifier.reference)
    return {"name": name, "num_images": len(clips_BTHWC), "frechet_distance": distance}
