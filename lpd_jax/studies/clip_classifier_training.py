"""Trains the classifier of `clip_classifier`: minutes on one CPU core, on clips made as it goes.

Letters: B clips, T frames, H height, W width, C channels, F features, Q cells.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

from lpd_jax.data.moving_avatars import NAMES, MovingAvatars
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.avatar_classifier import FEATURE_DIM, load_classifier
from lpd_jax.evaluation.clip_classifier import (
    BATCH_SIZE,
    STRIDE,
    ClipClassifier,
    ClipFeatures,
    Seen,
    features_of,
    seen_shapes,
)
from lpd_jax.images import to_model_range
from lpd_jax.models.settings import MAX_SEED
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.studies import clip_damage
from lpd_jax.studies.classifier_training import check_positive, make_optimizer, new_heads
from lpd_jax.studies.clip_material import Material, look_at_all, validation_clips

KEPT_HEADS = ("class_head", "order_head")
SKETCH_SIZE = 8  # pixels of the copies of every second frame that the features must redraw
FIT_STEPS, FIT_RATE = 500, 0.02  # of the head, on all training clips at once


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the classifier is trained."""

    num_steps: int = 1500
    clips_per_class: int = 8  # in a batch; every batch holds every class equally often
    learning_rate: float = 3e-3
    class_weight: float = 0.5
    order_weight: float = 2.0
    swap_weight: float = 3.0
    sketch_weight: float = 2.0
    look_weight: float = 0.5
    seed: int = 0

    def __post_init__(self):
        check_positive(self, ("num_steps", "clips_per_class", "learning_rate"))
        check_whole("seed", self.seed, 0, MAX_SEED)


def train_clip_classifier(
    settings: Settings | None = None, num_frames: int = 17, progress: bool = True
) -> ClipClassifier:
    """Trains from scratch on the clips of the split "train"; "validation" gives the accuracies.

    Args:
        settings: None for the defaults.
        num_frames: of the clips that it judges.
        progress: show bars.
    """
    settings = settings or Settings()
    source = MovingAvatars("train", num_frames)
    look = load_classifier().params["network"]
    material = look_at_all(source, look, settings.seed, progress)
    params = init_params(jax.random.key(settings.seed), num_frames)
    opt_state = make_optimizer(settings, settings.num_steps).init(params)
    key = jax.random.key(settings.seed + 1)
    batches = class_balanced_batches(material, settings)
    bar = tqdm.tqdm(batches, "classifier", settings.num_steps, unit="step", disable=not progress)
    for step, batch in enumerate(bar):
        params, opt_state, losses = train_step(
            params, opt_state, batch, jax.random.fold_in(key, step), settings=settings
        )
        if step % 20 == 0:
            bar.set_postfix({name: f"{float(value):.3f}" for name, value in losses.items()})
    return finish(params | {"look": look}, material, source, settings)


def class_balanced_batches(material: Material, settings: Settings) -> Iterator[Any]:
    """Yields what was seen of whole and mixed clips, labels, and the foreign cells of mixed ones.

    Whole clips come class by class: neighbours share a class.
    """
    rng = np.random.default_rng(settings.seed)
    rows_of_class = [np.flatnonzero(material.labels_B == label) for label in range(len(NAMES))]
    for _ in range(settings.num_steps):
        rows_B = np.concatenate(
            [rng.choice(rows, settings.clips_per_class, replace=False) for rows in rows_of_class]
        )
        mixed_B = rng.integers(len(material.foreign_BQ), size=len(rows_B) // 2)
        seen = jax.tree.map(lambda leaf, rows=rows_B: leaf[rows], material.seen)
        mixed = jax.tree.map(lambda leaf, rows=mixed_B: leaf[rows], material.mixed)
        yield seen, material.labels_B[rows_B], mixed, material.foreign_BQ[mixed_B]


@functools.partial(jax.jit, static_argnums=1)
def init_params(key: jax.Array, num_frames: int) -> dict[str, Any]:
    """The network of time and its linear heads; the last three are for training only."""
    network = ClipFeatures()
    shapes = seen_shapes(num_frames)
    heads = {
        "class_head": len(NAMES),
        "order_head": num_frames - 1,
        "swap_head": clip_damage.CELLS**2,
        "sketch_head": shapes.look_BSF.shape[1] * SKETCH_SIZE**2 * 3,
        "look_head": FEATURE_DIM,
    }
    nothing = (jnp.zeros(leaf.shape) for leaf in shapes)
    variables = network.init(jax.random.fold_in(key, 0), *nothing)
    return {"network": variables["params"], **new_heads(key, network.feature_dim, heads)}


@functools.partial(jax.jit, static_argnames="settings")
def train_step(
    params: Any, opt_state: Any, batch: Any, key: jax.Array, *, settings: Settings
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """One update."""
    grads, metrics = jax.grad(loss_fn, has_aux=True)(params, batch, key, settings)
    optimizer = make_optimizer(settings, settings.num_steps)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, metrics


def loss_fn(
    params: Any, batch: Any, key: jax.Array, settings: Settings
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Class, broken steps, foreign cells and what was seen, all read off the same features."""
    seen, labels_B, mixed, foreign_BQ = batch
    seen, broken_BT = some_out_of_order(key, seen, settings.clips_per_class)
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), seen, mixed)
    features_BF = features_of(params["network"], together)

    def head(name):
        return features_BF @ params[name]["kernel"] + params[name]["bias"][None]

    # Frames out of order do not say how they would have moved.
    count, whole_B = len(labels_B), ~broken_BT.any(axis=1)
    class_loss_B = optax.softmax_cross_entropy_with_integer_labels(
        head("class_head")[:count], labels_B
    )
    order_loss = optax.sigmoid_binary_cross_entropy(head("order_head")[:count], broken_BT)
    foreign_BQ = jnp.concatenate([jnp.zeros((count, foreign_BQ.shape[1])), foreign_BQ])
    is_judged_B = jnp.concatenate([whole_B, jnp.ones(len(foreign_BQ) - count, bool)])
    swap_loss_BQ = optax.sigmoid_binary_cross_entropy(head("swap_head"), foreign_BQ)
    sketch = sketches(together.small_BTHWC)
    metrics = {
        "class": (class_loss_B * whole_B).sum() / whole_B.sum(),
        "order": order_loss.mean(),
        "swap": (swap_loss_BQ.mean(axis=1) * is_judged_B).sum() / is_judged_B.sum(),
        "sketch": jnp.square(head("sketch_head") - sketch).mean(),
        "look": jnp.square(head("look_head") - together.look_BSF.mean(axis=1)).mean(),
    }
    return sum(getattr(settings, f"{name}_weight") * metrics[name] for name in metrics), metrics


def some_out_of_order(key: jax.Array, seen: Seen, per_class: int) -> tuple[Seen, jax.Array]:
    """Half of the clips with frames out of order, and which steps are broken `[B, T - 1]`.

    A frame that was not looked at has the look of the one before.
    """
    keys = jax.random.split(key, 2)
    count, num_frames = seen.small_BTHWC.shape[:2]
    number_BT, own_BT = clip_damage.out_of_order(keys[0], count, num_frames)
    moved_B1 = jax.random.bernoulli(keys[1], 0.5, (count, 1))
    number_BT = jnp.where(moved_B1, number_BT, jnp.arange(num_frames)[None])
    own_BT |= ~moved_B1
    partner_B = jnp.roll(jnp.arange(count).reshape(-1, per_class), 1, axis=1).reshape(-1)
    clip_BT = jnp.where(own_BT, jnp.arange(count)[:, None], partner_B[:, None])
    small = seen.small_BTHWC[clip_BT, number_BT]
    look = seen.look_BSF[clip_BT[:, ::STRIDE], number_BT[:, ::STRIDE] // STRIDE]
    return Seen(small, look), clip_damage.broken_steps(number_BT, own_BT)


def sketches(small_BTHWC: jax.Array) -> jax.Array:
    """Every second frame in 8x8 pixels, in [-1, 1]: `[B, numbers]`."""
    frames = to_model_range(small_BTHWC[:, ::STRIDE])
    small = (*frames.shape[:2], SKETCH_SIZE, SKETCH_SIZE, 3)
    return jax.image.resize(frames, small, "linear").reshape(len(frames), -1)


def finish(
    params: Any, material: Material, source: MovingAvatars, settings: Settings
) -> ClipClassifier:
    """Keeps what is used later, in the precision in which it is saved, and measures that."""
    kept = as_stored({name: params[name] for name in ("look", "network", *KEPT_HEADS)})
    few = range(0, len(source), BATCH_SIZE)
    batches = (jax.tree.map(lambda x, i=i: x[i : i + BATCH_SIZE], material.seen) for i in few)
    look = jax.jit(features_of)
    features_BF = np.concatenate([np.asarray(look(kept["network"], seen)) for seen in batches])
    kept["class_head"] = fit_class_head(kept["class_head"], features_BF, material.labels_B)
    gaussian = metrics.feature_statistics(features_BF)
    kept["reference"] = {
        "mean": gaussian.mean_F.astype(np.float32),
        "covariance": gaussian.covariance_FF.astype(np.float32),
    }
    unknown = dict.fromkeys(("validation_accuracy", "motion_accuracy", "order_accuracy"), math.nan)
    trained = ClipClassifier(
        params=kept,
        class_names=NAMES,
        image_size=source.image_size,
        num_frames=source.num_frames,
        num_reference=len(source),
        settings=dataclasses.asdict(settings),
        **unknown,
    )
    return dataclasses.replace(trained, **accuracies(trained))


def fit_class_head(head: Any, features_BF: np.ndarray, labels_B: np.ndarray) -> Any:
    """The head for whole clips alone, as good as the features allow; in float16's values.

    While the features are trained it sees broken clips, too, and few of any.
    """
    optimizer = optax.adam(FIT_RATE)

    def loss(head):
        logits_BC = features_BF @ head["kernel"] + head["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits_BC, labels_B).mean()

    def step(state, _):
        head, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(head), moments)
        return (optax.apply_updates(head, updates), moments), None

    state = head, optimizer.init(head)
    (head, _), _ = jax.jit(lambda state: jax.lax.scan(step, state, None, FIT_STEPS))(state)
    return as_stored(head)


def as_stored(params: Any) -> Any:
    """In float16's values."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), params)


def accuracies(trained: ClipClassifier) -> dict[str, Any]:
    """How often it is right on clips that it was not trained on."""
    clips_BTHWC, labels_B = validation_clips(trained.num_frames)
    features_BF = trained.features(clips_BTHWC)
    mixed_BTHWC, broken_BT = clip_damage.shuffled_or_frozen(clips_BTHWC)
    found_BT = trained.broken_steps(trained.features(mixed_BTHWC)) == broken_BT
    whole_BT = ~trained.broken_steps(features_BF)
    return {
        "validation_accuracy": trained.accuracy(features_BF, labels_B),
        "motion_accuracy": trained.motion_agreement(features_BF, labels_B),
        "order_accuracy": float(found_BT.mean() + whole_BT.mean()) / 2,
    }
