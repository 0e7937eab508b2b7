"""RandAR as a family: any order, several tokens a step, trained one by one (arXiv 2412.01827).

Letters: N tokens of an image, D width, P rows of the previous group, Q query rows, R rows of the
batch (2B under guidance).
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lpd_jax.decoding.scan import Step, StepRows
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import make_segments, make_step_table
from lpd_jax.models.family import register
from lpd_jax.models.layers import KVCache
from lpd_jax.models.one_by_one import OneByOneFamily
from lpd_jax.models.randar import (
    RANDAR_MODELS,
    RandAR,
    RandARConfig,
    decode_step,
    init_cache,
)
from lpd_jax.models.settings import Generation
from lpd_jax.models.transformer import cast_matrices, class_rows, unstack_blocks
from lpd_jax.models.transformer_family import RowCount, TeacherForced

PUBLISHED_STEPS = {256: 88}
# Tokens, width, codes -> guidance scale of the released weights.
PUBLISHED_SCALES = {
    (256, 1024, 16384): 3.4,
    (256, 1280, 16384): 4.0,
    (256, 1536, 16384): 4.0,  # of XL: these weights are not released
    (256, 1024, 1024): 4.0,
}


@register
class RandARFamily(OneByOneFamily):
    """Random order, with an instruction before each token."""

    name = "randar"
    title = "RandAR"
    config_type = RandARConfig
    module = RandAR
    models = RANDAR_MODELS
    published_steps = PUBLISHED_STEPS
    times_default = 88 / 20
    class_leaves = ("class_embed",)

    config: RandARConfig

    def defaults(self) -> Generation:
        return Generation(order="random", guidance_schedule="linear_before")

    def published(self, num_steps: int | None = None) -> Generation:
        cfg = self.config
        scale = PUBLISHED_SCALES.get((cfg.num_tokens, cfg.embed_dim, cfg.codebook_size), 1.0)
        chosen = {
            "num_steps": num_steps or PUBLISHED_STEPS.get(cfg.num_tokens),
            "guidance_scale": scale,
        }
        return self.defaults().updated(chosen)

    def group_sizes(self, num_steps: int) -> tuple[int, ...]:
        return randar_group_sizes(self.config.num_tokens, num_steps)

    def decoder(
        self, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
    ) -> tuple[Step, tuple[KVCache, ...]]:
        del schedule
        config = self.config
        # Once, outside the loop: casts, the slices of stacked weights, the class rows.
        params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
        class_R1D = class_rows(params["class_embed"], labels_R)

        def step(rows: StepRows, cache: tuple[KVCache, ...]):
            return decode_step(config, params, class_R1D, rows, cache)

        return step, init_cache(config, len(labels_R), dtype)

    def module_inputs(self, inputs: TeacherForced) -> Sequence[Any]:
        tokens_BN, labels_B, order_BN, group_N = inputs
        return tokens_BN, labels_B, order_BN, None if is_one_by_one(group_N) else group_N

    def forward_flops(self) -> float:
        """Of 2N rows and N logits."""
        N, D, cfg = self.config.num_tokens, self.config.embed_dim, self.config
        attention = 2 * 2 * D * (2 * N) ** 2  # twice, for values
        layer = 2 * self.layer_weights() * 2 * N + attention
        return float(cfg.num_layers * layer + 2 * N * D * cfg.codebook_size)

    def decoding_flops(self, schedule: GroupSchedule) -> float:
        """Products, attention, and the logits of the queries."""
        D, cfg = self.config.embed_dim, self.config
        seen_by_rows = rows = 0
        for previous_start, query_start, query_end in zip(*make_step_table(schedule), strict=True):
            # Of the sequence [class, P0, t0, P1, t1, ...]; row i sees i + 1.
            first = 2 * int(previous_start)
            end = 2 * int(query_start) - 1 + int(query_end - query_start)
            seen_by_rows += (end * (end + 1) - first * (first + 1)) // 2
            rows += end - first
        layer = 2 * self.layer_weights() * rows + 2 * 2 * D * seen_by_rows  # scores, and values
        return float(cfg.num_layers * layer + 2 * cfg.num_tokens * D * cfg.codebook_size)

    def describe(self) -> dict[str, str]:
        return super().describe() | {"inside_a_group": "causal"}

    def layer_weights(self) -> int:
        """Entries of the matrices of one layer."""
        D = self.config.embed_dim
        return 4 * D * D + 3 * D * self.config.mlp_dim

    def count_rows(self, schedule: GroupSchedule, num_segments: int | None = None) -> RowCount:
        """Tokens of the previous group, its instructions but the first, those of the next group."""

        def rows(num_segments: int) -> int:
            segments = make_segments(schedule, num_segments)
            return sum(s.num_steps * (2 * s.previous_width - 1 + s.query_width) for s in segments)

        num_segments = self.num_segments(num_segments)
        num_scans = len(make_segments(schedule, num_segments))
        return RowCount(rows(schedule.num_steps), rows(num_segments), num_scans)


def randar_group_sizes(num_tokens: int, num_steps: int) -> tuple[int, ...]:
    """Group sizes of the released code: one token first, then along a cosine.

    Step t of T ends at int(N (1 - cos(pi (t + 1) / 2T)) + 1) tokens, one more than the step before
    at least, and N at most: (1, 5, 5, 5) for 16 tokens in 4 steps.

    Args:
        num_steps: 1 to num_tokens.
    """
    ends = [1]
    for t in range(1, num_steps):
        end = int((1 - math.cos(math.pi / 2 * (t + 1) / num_steps)) * num_tokens + 1)
        ends.append(min(max(end, ends[-1] + 1), num_tokens))
    ends[-1] = num_tokens
    return tuple(np.diff(ends, prepend=0).tolist())


def is_one_by_one(group_N: Any) -> bool:
    """Whether each rank has a step of its own, as far as is known while tracing: of NumPy's arrays.

    Then the model needs N rows less.
    """
    is_known = isinstance(group_N, np.ndarray) and group_N.ndim == 1
    return is_known and np.array_equal(group_N, np.arange(len(group_N)))
