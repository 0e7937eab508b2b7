"""What families share that learn one token a step in random orders, and then draw several.

Letters: B images, N tokens of an image.
"""

import abc
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule, default_num_steps, make_schedule
from lpd_jax.models.block_family import BlockFamily
from lpd_jax.models.token_loss import random_orders
from lpd_jax.models.transformer_family import TeacherForced
from lpd_jax.runtime.arguments import check_whole


class OneByOneFamily(BlockFamily):
    """Any order; group sizes along a curve of its own.

    published_steps: tokens of an image -> steps of the released code.
    times_default: its steps over those of `default_num_steps`, where none are published.
    """

    has_head = True
    published_steps: ClassVar[Mapping[int, int]]
    times_default: ClassVar[float]

    @abc.abstractmethod
    def group_sizes(self, num_steps: int) -> tuple[int, ...]:
        """Of the released code, for the tokens of an image."""

    def schedule(
        self, num_steps: int | None = None, group_sizes: Iterable[int] | None = None
    ) -> GroupSchedule:
        """Along the family's curve, in its published steps; or sizes of one's own."""
        num_tokens = self.config.num_tokens
        if group_sizes is not None:
            return make_schedule(num_tokens, num_steps, tuple(group_sizes))
        if num_steps is None:
            own = round(self.times_default * default_num_steps(num_tokens))
            num_steps = self.published_steps.get(num_tokens, min(num_tokens, own))
        return GroupSchedule(self.group_sizes(check_whole("num_steps", num_steps, 1, num_tokens)))

    def training_inputs(
        self,
        key: jax.Array,
        tokens_BN: jax.Array,
        labels_B: jax.Array,
        train: bool,
        num_size_lists: int = 1,
    ) -> tuple[TeacherForced, jax.Array]:
        """A fresh random order for each image, one token a step; in validation labels stay."""
        del num_size_lists
        order_key, label_key, dropout_key = jax.random.split(key, 3)
        order_BN = random_orders(order_key, tokens_BN.shape)
        if train:
            labels_B = self.drop_labels(label_key, labels_B)
        group_N: Any = np.arange(self.config.num_tokens, dtype=np.int32)
        return TeacherForced(tokens_BN, labels_B, order_BN, group_N), dropout_key
