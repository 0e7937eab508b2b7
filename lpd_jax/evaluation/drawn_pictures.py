"""Pictures that a model draws, as a set to judge: picture i depends on the seed and i alone.

Letters: B pictures, N tokens of each.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lpd_jax.decoding.order_bank import first_orders
from lpd_jax.evaluation.picture_sets import PictureSet
from lpd_jax.generation.request import MOST_IMAGES, Request, make_request
from lpd_jax.generation.runner import Runner
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.settings import Generation
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.runtime.config_fields import to_mapping
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.model_directory import ModelFiles
from lpd_jax.weights.parameters import put_on_device, weights_digest

LABELS = ("balanced", "uniform")
IMAGES_PER_CLASS = 50  # 50,000 of ImageNet's 1000 classes, as published


class DrawingPlan:
    """Which pictures a model is to draw: class, order and random numbers of each."""

    def __init__(
        self,
        config: DirectoryConfig,
        generation: Generation,
        num_images: int = 0,
        labels: str = LABELS[0],
    ):
        """Args:
        config: of a transformer and its tokenizer.
        generation: every choice of how to draw.
        num_images: 0 is 50 of each class.
        labels: "balanced", classes in turn; "uniform", each drawn from all.

        Raises:
            UserError: pictures that the classes do not divide, or that the model cannot draw.
        """
        self.config, self.label_kind = config, labels
        self.count = check_plan(config, generation, num_images, labels)
        num_classes = config.need("transformer").num_classes
        self.labels_B = make_labels(labels, self.count, num_classes, generation)
        self.request = make_request(config, self.labels_B[:1], **vars(generation))

    @property
    def size(self) -> tuple[int, ...]:
        """(height, width) in pixels, or of clips (frames, height, width)."""
        grid = self.config.need("transformer").grid_size
        *frames, height, width = tokenizer_of(self.config.need("tokenizer")).size_of(grid)
        out = self.request.generation.output_size or height
        return *frames, out, round(width * out / height)

    @functools.cached_property
    def orders(self) -> np.ndarray:
        """Those that a request for all pictures has; locality orders, which take long, by a bank.

        The bank is a file: a resumed evaluation and the next one do not make them again.
        """
        chosen, config = self.request.generation, self.config
        if chosen.order != "locality":
            return make_request(config, self.labels_B, **vars(chosen)).order
        return first_orders(
            "locality",
            config.need("transformer").grid_size,
            self.request.schedule,
            self.count,
            chosen.seed,
            proximity_threshold=chosen.proximity_threshold,
            repulsion_threshold=chosen.repulsion_threshold,
        )

    def settings(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        chosen = to_mapping(self.request.generation)
        return {
            "count": self.count,
            "size": list(self.size),
            "labels": self.label_kind,
            "generation": chosen | {"group_sizes": list(self.request.schedule.group_sizes)},
        }

    def request_of(self, rows: range) -> Request:
        """What draws these pictures, whatever others are drawn."""
        index_B = np.arange(rows.start, rows.stop)
        return self.request._replace(
            labels=self.labels_B[index_B], order=self.orders[index_B], image_index=index_B
        )


class Drawer:
    """A model on all devices of this process, for as many sets of pictures as are asked of it."""

    def __init__(self, files: ModelFiles, name: str):
        """Args:
        files: a transformer and its tokenizer.
        name: what the user calls them.
        """
        self.config, self.name = files.config, name
        parts = {"transformer": files.transformer, "tokenizer": files.tokenizer}
        for part in parts:
            self.config.need(part)
        self.weights = {
            part: weights_digest(params, getattr(self.config, part))
            for part, params in parts.items()
            if params is not None
        }
        params = {
            part: put_on_device(
                weights, getattr(self.config, part), f"{name}: {part}", for_drawing=True
            )
            for part, weights in parts.items()
            if weights is not None
        }
        self.runner = Runner(self.config, params, jax.local_devices())

    def pictures(
        self, generation: Generation, num_images: int = 0, labels: str = LABELS[0]
    ) -> "DrawnPictures":
        """A set drawn in one way; see `DrawingPlan`."""
        return DrawnPictures(self, DrawingPlan(self.config, generation, num_images, labels))


class DrawnPictures(PictureSet):
    """So many pictures of a model, each of a class that its number decides."""

    def __init__(self, drawer: Drawer, plan: DrawingPlan):
        """Args:
        drawer: the model.
        plan: what it draws.
        """
        self.drawer, self.plan = drawer, plan
        self.count, self.size, self.labels = plan.count, plan.size, plan.labels_B
        self.class_names = tuple(drawer.config.class_names)

    def settings(self) -> dict[str, Any]:
        said = {"model": self.drawer.name, "weights": self.drawer.weights}
        return said | self.plan.settings()

    def tokens(self, rows: range) -> Iterator[np.ndarray]:
        """Tokens int32 `[B, N]` in raster order, some at a time."""
        for (tokens_BN,) in self.drawer.runner.run(self.plan.request_of(rows), to_images=False):
            yield tokens_BN

    def batches(self, rows: range) -> Iterator[np.ndarray]:
        for images_BHWC, _ in self.drawer.runner.run(self.plan.request_of(rows), to_images=True):
            yield images_BHWC


def check_plan(
    config: DirectoryConfig, generation: Generation, num_images: int, labels: str
) -> int:
    """How many pictures are drawn, once everything asked for can be; no weights are needed."""
    check_choice("labels", labels, LABELS)
    num_classes = config.need("transformer").num_classes
    config.need("tokenizer")
    count = num_images or IMAGES_PER_CLASS * num_classes
    check_whole("num_images", count, 2, MOST_IMAGES)
    if labels == "balanced" and count % num_classes:
        raise UserError(
            f"num_images: got {count}, allowed are multiples of the {num_classes} classes, such as "
            f"{max(1, round(count / num_classes)) * num_classes}; or any with labels=uniform"
        )
    make_request(config, [0], **vars(generation))
    return count


def make_labels(kind: str, count: int, num_classes: int, generation: Generation) -> np.ndarray:
    """Classes int32 `[B]`; those of the first pictures do not depend on how many there are."""
    if kind == "balanced":
        return np.arange(count, dtype=np.int32) % num_classes
    random = np.random.default_rng(generation.seed)
    return random.integers(num_classes, size=count).astype(np.int32)
