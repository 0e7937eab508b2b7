"""LPD as a family: any order, any schedule, a loss over random orders (arXiv 2507.01957).

Letters: N tokens of an image, D width, P rows of the previous group, Q query rows, R rows of the
batch (2B under guidance).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.scan import Step, StepRows
from lpd_jax.decoding.schedule import GroupSchedule, training_schedules
from lpd_jax.decoding.step_table import make_step_table
from lpd_jax.models.block_family import BlockFamily
from lpd_jax.models.family import register
from lpd_jax.models.layers import CacheWrite, KVCache
from lpd_jax.models.lpd import (
    LPD,
    LPD_MODELS,
    LPDConfig,
    decode_step,
    init_cache,
)
from lpd_jax.models.position_tables import resize_position_embedding
from lpd_jax.models.settings import Generation
from lpd_jax.models.token_loss import random_orders
from lpd_jax.models.transformer import cast_matrices, unstack_blocks
from lpd_jax.models.transformer_family import TeacherForced
from lpd_jax.runtime.mesh import constrain

# Tokens and width -> steps, guidance scale and repulsion threshold of each published setting, the
# paper's first choice of steps first (2507.01957, tables 1 to 3).
PUBLISHED = {
    (256, 1024): ((20, 4.8, 2), (32, 5.4, 2)),
    (256, 1280): ((20, 4.9, 2), (32, 5.0, 2)),
    (256, 1536): ((20, 5.9, 3),),
    (1024, 1024): ((48, 7.3, 4),),
    (1024, 1280): ((48, 6.0, 4),),
}


@register
class LPDFamily(BlockFamily):
    """Locality-aware parallel decoding."""

    name = "lpd"
    title = "LPD"
    config_type = LPDConfig
    module = LPD
    models = LPD_MODELS
    class_leaves = ("class_embed", "null_class_embed")
    has_head = True
    pads_queries = True
    draws_sizes = True

    config: LPDConfig

    def from_other(self, params: Any, source: LPDConfig) -> Any:
        """512-pixel training starts from the weights of 256: the position table is resized."""
        return resize_position_embedding(params, source.grid_size, self.config.grid_size)

    def published(self, num_steps: int | None = None) -> Generation:
        sizes = self.config.num_tokens, self.config.embed_dim
        settings = PUBLISHED.get(sizes, ((num_steps, 1.0, None),))
        same_steps = [setting for setting in settings if setting[0] == num_steps]
        steps, guidance_scale, repulsion_threshold = (same_steps or settings)[0]
        chosen = {
            "num_steps": steps if num_steps is None else num_steps,
            "guidance_scale": guidance_scale,
            "repulsion_threshold": repulsion_threshold,
        }
        return self.defaults().updated(chosen)

    def decoder(
        self, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
    ) -> tuple[Step, tuple[KVCache, ...]]:
        del schedule
        config = self.config
        # Once, outside the loop: casts, the slices of stacked weights, the class rows.
        params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
        class_R1D = LPD(config, dtype).bind({"params": params}).embed_class(labels_R)

        def step(rows: StepRows, cache: tuple[KVCache, ...]):
            model = LPD(config, dtype).bind({"params": params})
            start, num_previous = rows.previous_slots_P[0], len(rows.previous_slots_P)
            x_RTD = model.embed_step(
                rows.previous_tokens_RP, rows.previous_positions_RP, rows.query_positions_RQ
            )
            is_class_T = start + jnp.arange(x_RTD.shape[1]) == 0  # the first row, or none
            x_RTD = jnp.where(is_class_T[None, :, None], class_R1D, x_RTD)
            write = CacheWrite(start, rows.query_start, num_previous)
            return decode_step(config, params, x_RTD, rows.mask_TM, write, cache)

        return step, init_cache(config, len(labels_R), 0, dtype)

    def training_inputs(
        self,
        key: jax.Array,
        tokens_BN: jax.Array,
        labels_B: jax.Array,
        train: bool,
        num_size_lists: int = 1,
    ) -> tuple[TeacherForced, jax.Array]:
        """A fresh random order for each image, and one of the published group-size lists (3.1).

        With several lists consecutive parts of the batch, as equal as can be, have one each. In
        validation labels stay.
        """
        order_key, sizes_key, label_key, dropout_key = jax.random.split(key, 4)
        groups = [s.group_of_rank() for s in training_schedules(self.config.num_tokens)]
        group_GN = np.stack(groups).astype(np.int32)
        order_BN = random_orders(order_key, tokens_BN.shape)
        # One list is drawn as it always was: old runs go on as they began.
        shape = () if num_size_lists == 1 else (num_size_lists,)
        lists = jax.random.randint(sizes_key, shape, 0, len(group_GN), jnp.int32)
        if num_size_lists > 1:
            B = len(tokens_BN)
            lists = constrain(lists[np.arange(B) * num_size_lists // B], "act_batch")
        group_N = jnp.asarray(group_GN)[lists]
        if train:
            labels_B = self.drop_labels(label_key, labels_B)
        return TeacherForced(tokens_BN, labels_B, order_BN, group_N), dropout_key

    def forward_flops(self) -> float:
        """Of 2N rows and N logits."""
        N, D, cfg = self.config.num_tokens, self.config.embed_dim, self.config
        # N context rows see N, N queries see N rows of context and the N queries.
        attention = 2 * 2 * D * (N * N + N * 2 * N)  # twice, for values
        layer = 2 * self.layer_weights() * 2 * N + attention
        return float(cfg.num_layers * layer + 2 * N * D * cfg.codebook_size)

    def decoding_flops(self, schedule: GroupSchedule) -> float:
        """Products, attention, and the logits of the queries."""
        D, seen_by_rows, rows = self.config.embed_dim, 0, 0
        for previous_start, query_start, query_end in zip(*make_step_table(schedule), strict=True):
            P, Q = int(query_start - previous_start), int(query_end - query_start)
            seen_by_rows += P * int(query_start) + Q * int(query_end)
            rows += P + Q
        layer = 2 * self.layer_weights() * rows + 2 * 2 * D * seen_by_rows  # scores, and values
        head = 2 * D * self.config.codebook_size * self.config.num_tokens
        return float(self.config.num_layers * layer + head)

    def layer_weights(self) -> int:
        """Entries of the matrices of one layer."""
        return (4 + 2 * self.config.mlp_ratio) * self.config.embed_dim**2
