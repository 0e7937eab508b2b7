"""How the faces of `moving_avatars` move: where each frame has them.

Each function draws the numbers of a motion, and gives a pose a frame; letters: T frames.
"""

from typing import NamedTuple

import numpy as np

from lpd_jax.bundled import IMAGE_SIZE

RADIUS = 20.0  # of a face, in pixels
LOW, HIGH = RADIUS, IMAGE_SIZE - 1 - RADIUS  # where its middle can be
MIDDLE = (IMAGE_SIZE - 1) / 2
ROPE = 30.0  # pixels from the pivot of a swing to the middle of the face


class Pose(NamedTuple):
    """Where a face is in one frame."""

    x: float  # of its middle, in pixels
    y: float
    angle: float = 0.0  # radians, clockwise
    width: float = 1.0  # as it is seen, of its own; below 0 one sees the back


def bounce(rng: np.random.Generator, num_frames: int) -> list[Pose]:
    """In a straight line at one speed, back from each edge."""
    start_2, direction = rng.uniform(LOW, HIGH, 2), rng.uniform(0, 2 * np.pi)
    step_2 = rng.uniform(2.5, 5.0) * np.array([np.cos(direction), np.sin(direction)])
    places_T2 = reflect(start_2[None] + np.arange(num_frames)[:, None] * step_2[None])
    return [Pose(x, y) for x, y in places_T2.tolist()]


def roll(rng: np.random.Generator, num_frames: int) -> list[Pose]:
    """On the floor, without slipping, back from the walls."""
    speed = rng.uniform(2.0, 4.5) * rng.choice([-1, 1])
    x_T = reflect(rng.uniform(LOW, HIGH) + speed * np.arange(num_frames))
    angle_T = rng.uniform(-0.5, 0.5) + (x_T - x_T[0]) / RADIUS
    return [Pose(x, HIGH, angle) for x, angle in zip(x_T.tolist(), angle_T.tolist(), strict=True)]


def swing(rng: np.random.Generator, num_frames: int) -> list[Pose]:
    """As a pendulum, so wide that the face stays inside."""
    widest, angle_T = rng.uniform(0.24, 0.39), turns(rng, num_frames, 9, 16)
    swung = (widest * np.sin(angle_T)).tolist()
    return [Pose(MIDDLE + ROPE * np.sin(a), HIGH - ROPE + ROPE * np.cos(a), -a) for a in swung]


def turn(rng: np.random.Generator, num_frames: int) -> list[Pose]:
    """Round and round about its upright axis, in the middle."""
    return [Pose(MIDDLE, MIDDLE, width=w) for w in np.cos(turns(rng, num_frames, 9, 14)).tolist()]


def turns(rng: np.random.Generator, num_frames: int, shortest: float, longest: float) -> np.ndarray:
    """Angles `[T]` of an even turn from anywhere, whole in so many frames."""
    period, start = rng.uniform(shortest, longest), rng.uniform(0, 2 * np.pi)
    return start + 2 * np.pi * np.arange(num_frames) / period


def reflect(places: np.ndarray) -> np.ndarray:
    """Places on a line folded into [LOW, HIGH], as mirrors there would."""
    way = (places - LOW) % (2 * (HIGH - LOW))
    return LOW + np.minimum(way, 2 * (HIGH - LOW) - way)


MOTIONS = {"bounces": bounce, "rolls": roll, "swings": swing, "turns": turn}
