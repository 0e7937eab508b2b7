"""What a model says of real tokens: of each one, given one other or the groups before its own.

The mean of these nats over real images is a cross-entropy: it stands for a conditional entropy, is
an upper bound of it, and is above it by the model's divergence from the data. Counting pairs of
codes instead would need far more images than there are: 1024 codes make a million pairs.

Dimension key: B images of a batch, M of the study, N raster positions, T rows of one pass, V
codebook.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.scan import StepRows, grow_cache, to_raster
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.models.family import transformer_of
from lpd_jax.models.token_loss import token_nats
from lpd_jax.models.transformer_family import TeacherForced, TransformerConfig
from lpd_jax.runtime.errors import UserError

NOTHING = -1  # the reference position that tells nothing


class Likelihoods:
    """A model and the images that it judges."""

    def __init__(
        self,
        config: TransformerConfig,
        params: Any,
        tokens_MN: np.ndarray,
        labels_M: np.ndarray,
        batch_size: int = 16,
    ):
        """Args:
        config: of a transformer of any family; static.
        params: its parameters, layers stacked.
        tokens_MN: int32, raster order.
        labels_M: int32 class labels.
        batch_size: images at once.

        Raises:
            UserError: a batch of no images.
        """
        if batch_size < 1:
            raise UserError(f"batch_size: got {batch_size}, allowed are whole numbers from 1")
        self.config, self.params, self.batch_size = config, params, batch_size
        self.tokens_MN, self.labels_M = tokens_MN, labels_M

    def given_one(self, reference: int, class_given: bool) -> np.ndarray:
        """Nats float64 `[M, N]` of every token given that at `reference`, or `NOTHING`.

        Of models that draw in any order.
        """
        judge = functools.partial(
            nats_given_one, self.config, self.params, reference=jnp.asarray(reference)
        )
        return judge_in_batches(judge, (self.tokens_MN, self.labels(class_given)), self.batch_size)

    def in_order(
        self, order_MN: np.ndarray, schedule: GroupSchedule, class_given: bool
    ) -> np.ndarray:
        """Nats float64 `[M, N]`, raster order, of every token given the groups before its own."""
        judge = functools.partial(
            nats_in_order, self.config, self.params, group_N=schedule.group_of_rank()
        )
        inputs = (self.tokens_MN, self.labels(class_given), order_MN)
        return judge_in_batches(judge, inputs, self.batch_size)

    def labels(self, class_given: bool) -> np.ndarray:
        return self.labels_M if class_given else np.full_like(self.labels_M, self.config.null_class)


@functools.partial(jax.jit, static_argnums=0)
def nats_given_one(
    config: TransformerConfig,
    params: Any,
    tokens_BN: jax.Array,
    labels_B: jax.Array,
    reference: jax.Array,
) -> jax.Array:
    """Minus log p(x_i | x_reference) of every position i in one pass, float32 `[B, N]`.

    One decoding step of the model, under a mask of its own. Its rows are the class, the reference
    token, and N position queries that do not see each other: each is asked for alone, as the
    schedules of most steps do after one token, whichever others are. One group of all N - 1 would
    give the same conditionals, but no schedule has one so early, and the model does worse there.

    Args:
        config: of a transformer that draws in any order.
        tokens_BN: int32, raster order.
        labels_B: int32; `config.null_class` is no class.
        reference: int32 `[]`, a raster position or `NOTHING`. Its own entry is 0.
    """
    num_tokens = tokens_BN.shape[1]
    one_by_one = GroupSchedule((1,) * num_tokens)
    family = transformer_of(config)
    step, cache = family.decoder(params, labels_B, one_by_one, jnp.float32)
    held = jnp.maximum(reference, 0)
    token_B1 = jax.lax.dynamic_slice_in_dim(tokens_BN, held, 1, axis=1)
    class_B1 = jnp.zeros_like(token_B1)  # in slot 0 token and position mean nothing
    positions_BN = jnp.broadcast_to(jnp.arange(num_tokens)[None], tokens_BN.shape)
    rows = StepRows(
        previous_tokens_RP=jnp.concatenate([class_B1, token_B1], axis=1),
        previous_positions_RP=jnp.concatenate([class_B1, jnp.full_like(token_B1, held)], axis=1),
        previous_slots_P=jnp.arange(2),
        query_positions_RQ=positions_BN,
        query_start=jnp.asarray(2),
        mask_TM=given_one_mask(num_tokens, reference != NOTHING),
    )
    logits_BNV, _ = step(rows, grow_cache(cache, num_tokens + 2))
    return jnp.where(positions_BN == reference, 0.0, token_nats(logits_BNV, tokens_BN))


def given_one_mask(num_queries: int, is_token_seen: jax.Array) -> jax.Array:
    """Bool `[T, T]` over the class, one token and the queries: itself, the class, the token."""
    rows_T = jnp.arange(num_queries + 2)
    itself_or_class = (rows_T[:, None] == rows_T[None]) | (rows_T == 0)[None]
    token = (rows_T >= 2)[:, None] & (rows_T == 1)[None]
    return itself_or_class | (token & is_token_seen)


@functools.partial(jax.jit, static_argnums=0)
def nats_in_order(
    config: TransformerConfig,
    params: Any,
    tokens_BN: jax.Array,
    labels_B: jax.Array,
    order_BN: jax.Array,
    group_N: jax.Array,
) -> jax.Array:
    """Minus log p of every token given the groups before its own, float32 `[B, N]`, raster order.

    The teacher-forced pass, and its arguments. Tokens of a group do not see each other, as when the
    model draws them: all that is given are the earlier groups.
    """
    inputs = TeacherForced(tokens_BN, labels_B, order_BN, group_N)
    logits_BNV = transformer_of(config).logits(params, inputs)
    ranked_BN = jnp.take_along_axis(tokens_BN, order_BN, axis=1)
    return to_raster(token_nats(logits_BNV, ranked_BN), order_BN)


def judge_in_batches(
    judge: Callable[..., jax.Array], arrays: tuple[np.ndarray, ...], batch_size: int
) -> np.ndarray:
    """Joins judge(*rows) over batches of one size; the last is filled up with repeats."""
    count = len(arrays[0])
    size = min(batch_size, count)
    batches = np.minimum(np.arange(math.ceil(count / size) * size), count - 1).reshape(-1, size)
    outputs = [jax.device_get(judge(*(array[rows] for array in arrays))) for rows in batches]
    return np.concatenate(outputs)[:count].astype(np.float64)
