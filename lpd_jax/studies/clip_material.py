"""Clips of `moving_avatars` as the classifier of clips learns from them, and as studies judge them.

Letters: B clips, T frames, H height, W width, C channels, Q cells.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm

from lpd_jax.data.moving_avatars import NAMES, MovingAvatars
from lpd_jax.evaluation.clip_classifier import Seen, see
from lpd_jax.studies import clip_damage

MIXED_SHARE = 3  # one of so many clips is also there with foreign cells
VALIDATION_VIEWS = 4  # of each validation clip


class Material(NamedTuple):
    """Training clips as the network of time is given them, in the order of their numbers."""

    seen: Seen  # of all clips
    labels_B: np.ndarray
    mixed: Seen  # of every third clip with foreign cells
    foreign_BQ: np.ndarray  # how much of a cell of those is of another clip


def look_at_all(
    source: MovingAvatars, look: Any, seed: int, progress: bool, batch_size: int = 48
) -> Material:
    """Makes all clips once, a batch at a time, and some of them with foreign cells."""
    parts: list[tuple[Any, ...]] = []
    mix = jax.jit(clip_damage.mix)
    starts = range(0, len(source), batch_size)
    for start in tqdm.tqdm(starts, "clips", disable=not progress):
        numbers = np.arange(start, start + batch_size) % len(source)  # so that all are of one size
        # Those of a class after each other: foreign cells come from the one before.
        by_class = np.argsort(numbers % len(NAMES), kind="stable")
        clips_BTHWC, labels_B = read_clips(source, numbers)
        key = jax.random.fold_in(jax.random.key(seed), start)
        mixed_BTHWC, foreign_BQ = mix(key, clips_BTHWC[by_class])
        back = np.argsort(by_class)[::MIXED_SHARE]
        mixed = see(look, mixed_BTHWC[back])
        part = see(look, clips_BTHWC), labels_B, mixed, foreign_BQ[back]
        parts.append(jax.device_get(part))
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    material, count = Material(*whole), len(source)
    return Material(
        jax.tree.map(lambda leaf: leaf[:count], material.seen),
        material.labels_B[:count],
        material.mixed,
        material.foreign_BQ,
    )


def read_clips(source: MovingAvatars, numbers: Any, view: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clips uint8 `[B, T, H, W, 3]` and labels int32 `[B]` of some records."""
    clips, labels = zip(*(source.read(int(number), view) for number in numbers), strict=True)
    return np.stack(clips), np.array(labels, np.int32)


def validation_clips(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """1,200 clips that no training sees, and labels: each face moves in some more ways."""
    source = MovingAvatars("validation", num_frames)
    views = [read_clips(source, range(len(source)), view) for view in range(VALIDATION_VIEWS)]
    clips, labels = zip(*views, strict=True)
    return np.concatenate(clips), np.concatenate(labels)
