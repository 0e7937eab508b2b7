"""Trains the classifier of `avatar_classifier`: minutes on two CPU cores, and always the same."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm

from lpd_jax.evaluation import avatar_classifier as classifiers
from lpd_jax.images import to_model_range
from lpd_jax.models.settings import MAX_SEED
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.errors import UserError

CELLS = 4  # the picture is cut into 4x4 cells, some of which come from another picture
SKETCH_SIZE = 16  # pixels of the small copy that the features must redraw


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the classifier is trained."""

    num_epochs: int = 4
    images_per_class: int = 16  # in a batch; every batch holds every class equally often
    learning_rate: float = 3e-3
    swapped_fraction: float = 0.5  # of a picture's cells, at most; every other picture is whole
    class_weight: float = 0.3  # more, and the classes' means are all that the features hold
    swap_weight: float = 3.0
    sketch_weight: float = 2.0
    seed: int = 0

    def __post_init__(self):
        check_positive(self, ("num_epochs", "images_per_class", "learning_rate"))
        check_whole("seed", self.seed, 0, MAX_SEED)


def check_positive(settings: Any, names: tuple[str, ...]) -> None:
    """Raises UserError for a setting that is not above 0."""
    for name in names:
        if getattr(settings, name) <= 0:
            raise UserError(f"{name}: got {getattr(settings, name)}, allowed are values above 0")


def train_classifier(
    images_BHWC: np.ndarray,
    labels_B: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...],
    settings: Settings | None = None,
    progress: bool = True,
) -> classifiers.Classifier:
    """Trains from scratch.

    Args:
        images_BHWC: uint8 `[B, H, W, 3]`, square, side divisible by 16.
        labels_B: int `[B]`, 0 to C - 1; every class at least `images_per_class` times.
        validation: images and labels that only the reported accuracy looks at.
        class_names: C names.
        settings: None for the defaults.
        progress: show a bar.

    Raises:
        UserError: a class with fewer pictures than a batch needs.
    """
    settings = settings or Settings()
    rows_of_class = [np.flatnonzero(labels_B == c) for c in range(len(class_names))]
    smallest = min(map(len, rows_of_class))
    if smallest < settings.images_per_class:
        raise UserError(
            f"images_per_class: got {settings.images_per_class}, "
            f"allowed are at most the {smallest} pictures of the smallest class"
        )
    num_steps = smallest // settings.images_per_class * settings.num_epochs
    params = init_params(jax.random.key(settings.seed), images_BHWC.shape[1], len(class_names))
    opt_state = make_optimizer(settings, num_steps).init(params)
    batches = class_balanced_batches(rows_of_class, settings)
    key = jax.random.key(settings.seed + 1)
    bar = tqdm.tqdm(batches, "classifier", num_steps, unit="step", disable=not progress)
    for step, rows in enumerate(bar):
        step_key = jax.random.fold_in(key, step)
        batch = images_BHWC[rows], labels_B[rows]
        params, opt_state, metrics = train_step(
            params, opt_state, batch, step_key, settings=settings, num_steps=num_steps
        )
        if step % 20 == 0:
            bar.set_postfix({name: f"{float(value):.3f}" for name, value in metrics.items()})
    return _finish(params, images_BHWC.shape[1], class_names, validation, settings)


def _finish(params, image_size, class_names, validation, settings) -> classifiers.Classifier:
    """Keeps what is used later, in the precision in which it is saved, and measures that."""
    kept = {name: params[name] for name in ("network", "class_head")}
    kept = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), kept)
    trained = classifiers.Classifier(
        kept, tuple(class_names), image_size, float("nan"), dataclasses.asdict(settings)
    )
    images_BHWC, labels_B = validation
    accuracy = trained.accuracy(trained.features(images_BHWC), labels_B)
    return dataclasses.replace(trained, validation_accuracy=accuracy)


def make_optimizer(settings: Any, num_steps: int) -> optax.GradientTransformation:
    """AdamW, warmed up, then decayed along a cosine to nothing."""
    warmup_steps = min(30, num_steps // 4 + 1)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup_steps, num_steps + 1
    )
    return optax.adamw(schedule, weight_decay=1e-3)


def class_balanced_batches(
    rows_of_class: list[np.ndarray], settings: Settings
) -> Iterator[np.ndarray]:
    """Yields row numbers `[C * images_per_class]`, class by class: neighbours share a class."""
    generator = np.random.default_rng(settings.seed)
    per_class = settings.images_per_class
    for _ in range(settings.num_epochs):
        shuffled = [generator.permutation(rows) for rows in rows_of_class]
        for start in range(0, min(map(len, shuffled)) - per_class + 1, per_class):
            yield np.concatenate([rows[start : start + per_class] for rows in shuffled])


@functools.partial(jax.jit, static_argnums=(1, 2))
def init_params(key: jax.Array, image_size: int, num_classes: int) -> dict[str, Any]:
    """The network and three linear heads; the last two are for training only."""
    network = classifiers.AvatarFeatures()
    images = jnp.zeros((1, image_size, image_size, 3))
    sizes = {
        "class_head": num_classes,
        "swap_head": CELLS * CELLS,
        "sketch_head": SKETCH_SIZE * SKETCH_SIZE * 3,
    }
    params = {"network": network.init(jax.random.fold_in(key, 0), images)["params"]}
    return params | new_heads(key, network.feature_dim, sizes)


def new_heads(key: jax.Array, feature_dim: int, sizes: dict[str, int]) -> dict[str, Any]:
    """Linear maps of features to so many numbers, by name."""
    heads = {}
    for i, (name, size) in enumerate(sizes.items(), start=1):
        kernel = jax.random.normal(jax.random.fold_in(key, i), (feature_dim, size))
        heads[name] = {"kernel": 0.05 * kernel, "bias": jnp.zeros(size)}
    return heads


@functools.partial(jax.jit, static_argnames=("settings", "num_steps"))
def train_step(
    params: Any, opt_state: Any, batch: Any, key: jax.Array, *, settings: Settings, num_steps: int
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """One update of `num_steps`."""
    grads, metrics = jax.grad(loss_fn, has_aux=True)(params, batch, key, settings)
    optimizer = make_optimizer(settings, num_steps)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, metrics


def loss_fn(
    params: Any, batch: Any, key: jax.Array, settings: Settings
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Class, swapped cells and small copy, all read off the same features."""
    images_BHWC, labels_B = batch
    images_BHWC = to_model_range(images_BHWC)
    images_BHWC, swapped_BQ = swap_cells(key, images_BHWC, settings)
    features_BF = classifiers.AvatarFeatures().apply({"params": params["network"]}, images_BHWC)

    def head(name):
        return features_BF @ params[name]["kernel"] + params[name]["bias"][None]

    class_loss = optax.softmax_cross_entropy_with_integer_labels(head("class_head"), labels_B)
    swap_loss = optax.sigmoid_binary_cross_entropy(head("swap_head"), swapped_BQ)
    small = (len(images_BHWC), SKETCH_SIZE, SKETCH_SIZE, 3)
    sketch = jax.image.resize(images_BHWC, small, "linear").reshape(len(images_BHWC), -1)
    sketch_loss = jnp.square(head("sketch_head") - sketch)
    metrics = {"class": class_loss.mean(), "swap": swap_loss.mean(), "sketch": sketch_loss.mean()}
    loss = settings.class_weight * metrics["class"] + settings.swap_weight * metrics["swap"]
    return loss + settings.sketch_weight * metrics["sketch"], metrics


def swap_cells(
    key: jax.Array, images_BHWC: jax.Array, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """Takes squares of every other picture from its neighbour in the batch, one of its class.

    The squares have the size of a cell and lie on a grid that is shifted for each picture: on a
    fixed grid the network would learn where the seams are, and miss broken faces elsewhere.

    Returns:
        The images, and float `[B, CELLS * CELLS]`: how much of a cell is the neighbour's.
    """
    batch, side = len(images_BHWC), images_BHWC.shape[1]
    cell = side // CELLS
    fraction_key, square_key, shift_key = jax.random.split(key, 3)
    fraction_B = jax.random.uniform(fraction_key, (batch,), maxval=settings.swapped_fraction)
    fraction_B = jnp.where(jnp.arange(batch) % 2 == 0, fraction_B, 0.0)
    squares = jax.random.uniform(square_key, (batch, CELLS + 1, CELLS + 1))
    drawn = squares < fraction_B[:, None, None]
    shift_B2 = jax.random.randint(shift_key, (batch, 2), 0, cell)
    mask_BHW = jax.vmap(lambda mask, shift: jax.lax.dynamic_slice(mask, shift, (side, side)))(
        drawn.repeat(cell, axis=1).repeat(cell, axis=2), shift_B2
    )
    by_class = images_BHWC.reshape(-1, settings.images_per_class, *images_BHWC.shape[1:])
    partner_BHWC = jnp.roll(by_class, 1, axis=1).reshape(images_BHWC.shape)
    images_BHWC = jnp.where(mask_BHW[..., None], partner_BHWC, images_BHWC)
    swapped = mask_BHW.reshape(batch, CELLS, cell, CELLS, cell).mean(axis=(2, 4))
    return images_BHWC, swapped.reshape(batch, -1)
