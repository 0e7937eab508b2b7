"""What a transformer family says of itself: whatever depends on which method a model is.

Letters: B images, N tokens of an image, R rows of the batch (2B under guidance), V codebook.
"""

import abc
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding import step_table
from lpd_jax.decoding.grid import check_order
from lpd_jax.decoding.order import make_order
from lpd_jax.decoding.scan import Step
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.decoding.step_table import make_segments, padded_rows
from lpd_jax.models.order_mix import OrderMix, mix_orders
from lpd_jax.models.settings import Generation
from lpd_jax.models.token_loss import drop_labels, judge_in_chunks, judge_tokens
from lpd_jax.models.transformer import apply_head

MIX_KEY = 1  # of the numbers that choose orders, so that all others stay as they were

# (parameters, batch, key) -> (loss, metrics)
LossFunction = Callable[[Any, Any, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]


class TransformerConfig(Protocol):
    """What the config of every transformer has, whatever its family."""

    @property
    def grid_size(self) -> tuple[int, ...]: ...  # (height, width) in tokens, or with frames first
    @property
    def num_tokens(self) -> int: ...
    @property
    def codebook_size(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def null_class(self) -> int: ...  # the label that stands for no class
    @property
    def label_drop_rate(self) -> float: ...


class TeacherForced(NamedTuple):
    """What one teacher-forced pass is given."""

    tokens_BN: jax.Array  # int32, raster order
    labels_B: jax.Array  # int32; `config.null_class` is no class
    order_BN: jax.Array  # int32, generation rank -> raster position
    group_N: jax.Array  # int32, the decoding step that writes each rank; [B, N]: of each image


class RowCount(NamedTuple):
    """Rows of an image that go through a transformer while it is drawn."""

    exact: int
    padded: int  # with the padding of the schedule's segments
    num_segments: int | None  # None where none is padded


class Family(abc.ABC):
    """A transformer family, for one config.

    A new family implements the abstract methods; the others have answers that fit a model which
    draws in any order and in any schedule.

    name: `family` in config files.
    title: what errors and tables call it.
    config_type: a frozen dataclass with what `TransformerConfig` lists.
    models: configs of the published models by name.
    any_order: whether known tokens can come first, so that pictures can be edited.
    class_leaves: the parameters, by their top names, that speak of classes and of nothing else;
        where none is named, weights cannot be taken over to other classes.
    starts_from: other families whose weights `from_other` takes, and the fields in which their
        configs may differ.
    pads_queries: whether a step may ask for more tokens than it draws: nobody sees those queries.
    draws_sizes: whether training draws lists of group sizes.
    has_head: whether its last step is a matrix without bias, `head` of its parameters, which
        `logits` with the option `headless` leaves out.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    config_type: ClassVar[type]
    models: ClassVar[Mapping[str, Any]] = {}
    any_order: ClassVar[bool] = True
    class_leaves: ClassVar[tuple[str, ...]] = ()
    starts_from: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    pads_queries: ClassVar[bool] = False
    draws_sizes: ClassVar[bool] = False
    has_head: ClassVar[bool] = False

    def __init__(self, config: Any):
        self.config = config

    # Parameters.

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, each leaf boxed with its logical axis names."""

    def for_drawing(self, params: Any) -> Any:
        """Parameters as `decoder` takes them without a copy in every call."""
        return params

    def for_saving(self, params: Any) -> Any:
        """What `for_drawing` was given."""
        return params

    def from_other(self, params: Any, source: Any) -> Any:
        """Parameters of a model that differs in grid and dropout only, made to fit this one."""
        del source
        return params

    # Drawing.

    @abc.abstractmethod
    def decoder(
        self, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
    ) -> tuple[Step, Any]:
        """The cached model as the scan calls it, and the cache that it begins with."""

    def defaults(self) -> Generation:
        """How a model of this family draws where nobody says; order and guidance are filled in."""
        return Generation(order="locality", guidance_schedule="linear")

    def published(self, num_steps: int | None = None) -> Generation:
        """How the authors draw with a model of these sizes."""
        return self.defaults().updated({"num_steps": num_steps})

    def schedule(
        self, num_steps: int | None = None, group_sizes: Iterable[int] | None = None
    ) -> GroupSchedule:
        """The schedule that is asked for; UserError where the family does not know it."""
        sizes = None if group_sizes is None else tuple(group_sizes)
        return make_schedule(self.config.num_tokens, num_steps, sizes)

    def orders(
        self,
        order: str | np.ndarray | None,
        schedule: GroupSchedule,
        num_orders: int,
        seed: int = 0,
        *,
        first_index: int = 0,
        proximity_threshold: float = 1.0,
        repulsion_threshold: int | None = None,
    ) -> np.ndarray:
        """The order of each image, int32 `[B, N]`, of a kind or of the user's own array.

        Of a kind, that of image `first_index` and up; each depends on the seed and its own index.
        """
        if order is not None and not isinstance(order, str):
            return check_order(order, schedule.num_tokens, num_orders)
        return make_order(
            order or str(self.defaults().order),
            self.config.grid_size,
            schedule,
            num_orders=num_orders,
            seed=seed,
            first_index=first_index,
            proximity_threshold=proximity_threshold,
            repulsion_threshold=repulsion_threshold,
        )

    def num_segments(self, asked: int | None) -> int:
        """Scans that a schedule is cut into; UserError where that number does not work."""
        return step_table.NUM_SEGMENTS if asked is None else asked

    # Training.

    @abc.abstractmethod
    def logits(
        self,
        params: Any,
        inputs: TeacherForced,
        train: bool = False,
        dropout_key: jax.Array | None = None,
        **options: Any,
    ) -> jax.Array:
        """Teacher-forced logits, float32 `[B, N, V]` in generation order.

        Args:
            train: dropout, from `dropout_key`.
            options: dtype, attention and remat; see `training.compute_config`.
        """

    def training_inputs(
        self,
        key: jax.Array,
        tokens_BN: jax.Array,
        labels_B: jax.Array,
        train: bool,
        num_size_lists: int = 1,
    ) -> tuple[TeacherForced, jax.Array]:
        """What one training step learns from, and the key of its dropout.

        Here: the family's own order and schedule.

        Args:
            num_size_lists: of group sizes, each drawn for a part of the batch, where the family
                draws them.
        """
        del num_size_lists
        label_key, dropout_key = jax.random.split(key)
        if train:
            labels_B = self.drop_labels(label_key, labels_B)
        schedule = self.schedule()
        order_1N = self.orders(None, schedule, 1)
        order_BN = jnp.broadcast_to(order_1N, tokens_BN.shape)
        group_N = jnp.asarray(schedule.group_of_rank())
        return TeacherForced(tokens_BN, labels_B, order_BN, group_N), dropout_key

    def drop_labels(self, key: jax.Array, labels_B: jax.Array) -> jax.Array:
        """Labels, some of them turned into no class."""
        return drop_labels(key, labels_B, self.config.label_drop_rate, self.config.null_class)

    def loss(
        self,
        train: bool,
        num_size_lists: int = 1,
        order_mix: OrderMix | None = None,
        loss_chunk: int = 0,
        **options: Any,
    ) -> LossFunction:
        """Mean cross-entropy over `{"tokens": [B, N] raster order, "labels": [B]}`.

        Args:
            train: drop labels and activations.
            num_size_lists: see `training_inputs`.
            order_mix: orders that take the place of a share of its own.
            loss_chunk: so many tokens of an image have their logits at once; 0: all of them.
            options: of `logits`.
        """

        def loss_function(params: Any, batch: dict, key: jax.Array):
            tokens_BN, labels_B = batch["tokens"].astype(jnp.int32), batch["labels"]
            inputs, dropout_key = self.training_inputs(
                key, tokens_BN, labels_B, train, num_size_lists
            )
            if order_mix is not None:
                inputs = mix_orders(order_mix, jax.random.fold_in(key, MIX_KEY), inputs)
            targets_BN = jnp.take_along_axis(tokens_BN, inputs.order_BN, axis=1)
            if not loss_chunk:
                logits_BNV = self.logits(params, inputs, train, dropout_key, **options)
                return judge_tokens(logits_BNV, targets_BN)
            read_BND = self.logits(params, inputs, train, dropout_key, headless=True, **options)
            to_logits = functools.partial(apply_head, **options)
            return judge_in_chunks(to_logits, params["head"], read_BND, targets_BN, loss_chunk)

        return loss_function

    @property
    def head_dim(self) -> int | None:
        """Width of an attention head; None where attention kernels are not offered."""
        return None

    # Counting and telling.

    def forward_flops(self) -> float | None:
        """FLOPs of one image's teacher-forced pass; None where nobody has counted.

        What the model needs: matrix products, and attention scores that some row may look at.
        """
        return None

    def decoding_flops(self, schedule: GroupSchedule) -> float | None:
        """FLOPs of drawing one image without guidance; None where nobody has counted."""
        return None

    def count_rows(self, schedule: GroupSchedule, num_segments: int | None = None) -> RowCount:
        """Rows of an image that must go through the model, and that do."""
        exact = make_segments(schedule, schedule.num_steps)
        segments = make_segments(schedule, self.num_segments(num_segments))
        return RowCount(padded_rows(exact), padded_rows(segments), len(segments))

    def describe(self) -> dict[str, str]:
        """What tells it from other methods, in words: columns of a table."""
        return {"method": self.title, "first_tokens": "-", "inside_a_group": "full"}
