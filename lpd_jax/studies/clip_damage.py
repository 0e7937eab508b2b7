"""Known ways to break clips: what the classifier learns to find, and what tests its distance.

Letters: B clips, T frames, H height, W width, C channels, Q cells.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.data.avatar_motions import MOTIONS
from lpd_jax.studies import corruptions

CELLS = 4  # a frame is cut into 4x4 cells
MOST_FOREIGN = 0.5  # of the cells of a clip


def mix(key: jax.Array, clips_BTHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Clips with squares of the one before, in all frames alike or in each anew.

    Returns:
        The clips, and float `[B, Q]`: how much of a cell, over all frames, is foreign.
    """
    mask_BTHW = foreign_squares(key, clips_BTHWC.shape[:3])
    side = clips_BTHWC.shape[2] // CELLS
    cells = mask_BTHW.reshape(len(clips_BTHWC), -1, CELLS, side, CELLS, side).mean(axis=(1, 3, 5))
    mixed_BTHWC = jnp.where(mask_BTHW[..., None], jnp.roll(clips_BTHWC, 1, axis=0), clips_BTHWC)
    return mixed_BTHWC, cells.reshape(len(cells), -1)


def broken_steps(number_BT: jax.Array, own_BT: jax.Array) -> jax.Array:
    """Which frames do not follow the one before, bool `[B, T - 1]`; see `out_of_order`."""
    return (jnp.diff(number_BT, axis=1) != 1) | (own_BT[:, 1:] != own_BT[:, :-1])


def out_of_order(key: jax.Array, num_clips: int, num_frames: int) -> tuple[jax.Array, jax.Array]:
    """Which frame stands at each place, int `[B, T]`, and whether it is the clip's own, bool.

    A third freezes from some frame on, a third is shuffled, a little or altogether, a third goes
    on from some frame as the clip beside it.
    """
    keys = jax.random.split(key, 4)
    place_T = jnp.arange(num_frames)
    cut_B1 = jax.random.randint(keys[0], (num_clips, 1), 0, num_frames - 1)
    far_B1 = jax.random.uniform(keys[1], (num_clips, 1), minval=1.0, maxval=10.0)
    noise_BT = far_B1 * jax.random.normal(keys[2], (num_clips, num_frames))
    kind_B1 = jax.random.randint(keys[3], (num_clips, 1), 0, 3)
    frozen_BT = jnp.minimum(place_T[None], cut_B1)
    shuffled_BT = jnp.argsort(place_T[None] + noise_BT, axis=1)
    number_BT = jnp.where(kind_B1 == 0, frozen_BT, place_T[None])
    number_BT = jnp.where(kind_B1 == 1, shuffled_BT, number_BT)
    return number_BT, (kind_B1 != 2) | (place_T[None] <= cut_B1)


def foreign_squares(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Where clips show another one, bool `[B, T, H, W]`: the same squares in all frames, or not.

    The squares lie on a grid that is shifted for each clip, as in `classifier_training`.
    """
    num_clips, num_frames, side = shape
    cell = side // CELLS
    keys = jax.random.split(key, 4)
    share_B = jax.random.uniform(keys[0], (num_clips,), maxval=MOST_FOREIGN)
    drawn = jax.random.uniform(keys[1], (num_clips, num_frames, CELLS + 1, CELLS + 1))
    still_B = jax.random.bernoulli(keys[2], 0.5, (num_clips,))
    drawn = jnp.where(still_B[:, None, None, None], drawn[:, :1], drawn)
    mask = (drawn < share_B[:, None, None, None]).repeat(cell, axis=2).repeat(cell, axis=3)
    shift_B2 = jax.random.randint(keys[3], (num_clips, 2), 0, cell)

    def cut(mask_THW, shift_2):
        start = (jnp.zeros((), shift_2.dtype), *shift_2)
        return jax.lax.dynamic_slice(mask_THW, start, (num_frames, side, side))

    return jax.vmap(cut)(mask, shift_B2)


def shuffled(clips_BTHWC: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The frames of each clip in an order of their own, and the order `[B, T]`."""
    rng = np.random.default_rng(seed)
    number_BT = np.stack([rng.permutation(clips_BTHWC.shape[1]) for _ in clips_BTHWC])
    return take_frames(clips_BTHWC, number_BT), number_BT


def shuffled_or_frozen(clips_BTHWC: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Every other clip shuffled, the rest frozen; which frames do not follow, bool `[B, T - 1]`."""
    _, number_BT = shuffled(clips_BTHWC, seed)
    number_BT[1::2] = 0
    return take_frames(clips_BTHWC, number_BT), np.diff(number_BT, axis=1) != 1


def take_frames(clips_BTHWC: np.ndarray, number_BT: np.ndarray) -> np.ndarray:
    """The frames of these numbers of each clip."""
    return clips_BTHWC[np.arange(len(clips_BTHWC))[:, None], number_BT]


def tests(clips_BTHWC: np.ndarray, labels_B: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Names and clips: all that a distance must react to before it may judge a model.

    Args:
        clips_BTHWC: real ones, several of each class.
        labels_B: their classes.
    """
    count, num_frames = clips_BTHWC.shape[:2]
    place_T = np.arange(num_frames)

    def every(number_T: np.ndarray) -> np.ndarray:
        return take_frames(clips_BTHWC, np.tile(number_T, (count, 1)))

    yield "first frame, frozen", every(np.zeros_like(place_T))
    yield "frozen after the middle", every(np.minimum(place_T, num_frames // 2))
    yield "every second frame twice", every(place_T // 2 * 2)
    yield "two neighbouring frames change places", every(neighbours_swapped(num_frames))
    yield "frames shuffled", shuffled(clips_BTHWC)[0]
    yield "second half of another clip of the class", spliced(clips_BTHWC, labels_B)
    for motion, name in enumerate(MOTIONS):
        yield f"only the faces that {name[:-1]}", clips_BTHWC[labels_B % len(MOTIONS) == motion]
    for share in (0.05, 0.25):
        name = f"{share:.0%} of 8x8 patches of each frame from another clip of the class"
        yield name, foreign_patches(clips_BTHWC, labels_B, share)
    for sigma in (0.5, 1, 2):
        yield f"blurred, sigma {sigma} px", by_frames(corruptions.blur, clips_BTHWC, sigma)
    for sigma in (8, 16, 32):
        yield f"noise, sigma {sigma} of 255", by_frames(corruptions.add_noise, clips_BTHWC, sigma)


def neighbours_swapped(num_frames: int) -> np.ndarray:
    """Frame numbers `[T]` of which the two in the middle change places."""
    number_T = np.arange(num_frames)
    middle = num_frames // 2
    number_T[[middle, middle + 1]] = number_T[[middle + 1, middle]]
    return number_T


def spliced(clips_BTHWC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Clips that go on in the middle as the next one of their class."""
    partner_B = np.arange(len(labels_B))
    for label in np.unique(labels_B):
        rows = np.flatnonzero(labels_B == label)
        partner_B[rows] = np.roll(rows, 1)
    middle = clips_BTHWC.shape[1] // 2
    return np.concatenate([clips_BTHWC[:, :middle], clips_BTHWC[partner_B, middle:]], axis=1)


def foreign_patches(clips_BTHWC: np.ndarray, labels_B: np.ndarray, share: float) -> np.ndarray:
    """8x8 patches of each frame by themselves from the same frame of another clip of the class."""
    frames = [
        corruptions.swap_patches(clips_BTHWC[:, t], labels_B, 8, share, seed=t)
        for t in range(clips_BTHWC.shape[1])
    ]
    return np.stack(frames, axis=1)


def by_frames(
    spoil: Callable[[np.ndarray, float], np.ndarray], clips_BTHWC: np.ndarray, amount: float
) -> np.ndarray:
    """A corruption of pictures, of each frame."""
    frames = [spoil(clips_BTHWC[:, t], amount) for t in range(clips_BTHWC.shape[1])]
    return np.stack(frames, axis=1)
