"""ARPG as a family: any order, several tokens a step, trained one by one (arXiv 2503.10568).

Letters: N tokens of an image, D width, P rows of the previous group, Q query rows, R rows of the
batch (2B under guidance).
"""

import math
from typing import Any

import jax

from lpd_jax.decoding.scan import Step, StepRows
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import make_step_table
from lpd_jax.models.arpg import (
    ARPG,
    ARPGCache,
    decode_step,
    init_cache,
)
from lpd_jax.models.arpg_sizes import ARPG_MODELS, ARPGConfig
from lpd_jax.models.family import register
from lpd_jax.models.one_by_one import OneByOneFamily
from lpd_jax.models.settings import Generation
from lpd_jax.models.transformer import cast_matrices, unstack_blocks
from lpd_jax.models.weight_layout import lay_out
from lpd_jax.runtime.arguments import check_choice

CURVES = ("arccos", "cosine")
PUBLISHED_STEPS = {256: 64, 1024: 64}
# Width -> steps of 256 tokens -> guidance scale: 64 of the released code, the others of the paper.
PUBLISHED_SCALES = {
    1024: {64: 5.0, 32: 5.4, 16: 7.8, 24: 6.1, 128: 4.6, 256: 4.3},
    1280: {64: 6.0, 32: 6.6, 16: 8.4, 24: 7.0},
    1536: {64: 7.5, 32: 6.5, 16: 9.3, 24: 8.1},
}


@register
class ARPGFamily(OneByOneFamily):
    """Random order, by queries that look at one shared memory."""

    name = "arpg"
    title = "ARPG"
    config_type = ARPGConfig
    module = ARPG
    models = ARPG_MODELS
    published_steps = PUBLISHED_STEPS
    times_default = 64 / 20

    config: ARPGConfig

    def for_drawing(self, params: Any) -> Any:
        """Both halves are as deep: layer i of one stands beside layer i of the other."""
        return lay_out(unstack_blocks(params, self.config.half))

    def defaults(self) -> Generation:
        return Generation(order="random", guidance_schedule="linear_after")

    def published(self, num_steps: int | None = None) -> Generation:
        cfg = self.config
        steps = num_steps or PUBLISHED_STEPS.get(cfg.num_tokens)
        scales = PUBLISHED_SCALES.get(cfg.embed_dim, {}) if cfg.num_tokens == 256 else {}
        # Of steps that nobody judged, the scale of those that the released code takes.
        scale = scales.get(steps or 0, scales.get(PUBLISHED_STEPS[256], 1.0))
        return self.defaults().updated({"num_steps": steps, "guidance_scale": scale})

    def group_sizes(self, num_steps: int) -> tuple[int, ...]:
        return arpg_group_sizes(self.config.num_tokens, num_steps)

    def decoder(
        self, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
    ) -> tuple[Step, ARPGCache]:
        del schedule
        config = self.config
        # Once, outside the loop: casts, the slices of stacked weights, the class rows.
        params = unstack_blocks(cast_matrices(params, dtype), config.half)
        class_R1D = ARPG(config, dtype).bind({"params": params}).embed_class(labels_R)

        def step(rows: StepRows, cache: ARPGCache):
            return decode_step(config, params, class_R1D, rows, cache)

        return step, init_cache(config, len(labels_R), dtype)

    def forward_flops(self) -> float:
        """Of N rows that are read and N that ask, and N logits."""
        N, D, cfg = self.config.num_tokens, self.config.embed_dim, self.config
        attention = 2 * 2 * 2 * D * N * N  # in both halves, twice, for values
        return float(self.weight_flops(N, N) + cfg.half * attention + 2 * N * D * cfg.codebook_size)

    def decoding_flops(self, schedule: GroupSchedule) -> float:
        """Products, attention, and the logits of the queries."""
        D, cfg, seen_by_rows, rows = self.config.embed_dim, self.config, 0, 0
        for previous_start, query_start, query_end in zip(*make_step_table(schedule), strict=True):
            P, Q = int(query_start - previous_start), int(query_end - query_start)
            seen_by_rows += (P + Q) * int(query_start)
            rows += P
        attention = 2 * 2 * D * seen_by_rows  # scores, and values
        head = 2 * D * cfg.codebook_size * cfg.num_tokens
        return float(self.weight_flops(rows, cfg.num_tokens) + cfg.half * attention + head)

    def describe(self) -> dict[str, str]:
        return super().describe() | {"inside_a_group": "blind"}

    def weight_flops(self, num_read: int, num_asking: int) -> int:
        """Products with the matrices of all layers, and those of the memory."""
        D, mlp = self.config.embed_dim, 3 * self.config.embed_dim * self.config.mlp_dim
        layers = num_read * (4 * D * D + mlp) + num_asking * (2 * D * D + mlp)
        return 2 * (self.config.half * layers + num_read * 2 * D * D)


def arpg_group_sizes(num_tokens: int, num_steps: int, curve: str = "arccos") -> tuple[int, ...]:
    """Group sizes of the released code: after step t of T, so much is not there yet.

    int(N arccos((t + 1) / T) / (pi / 2)) tokens, whose last group is much the largest, or
    int(N cos(pi (t + 1) / 2T)), as MaskGIT has it; each step draws at least one.

    Args:
        num_steps: 1 to num_tokens.
        curve: "arccos" or "cosine".
    """
    check_choice("curve", curve, CURVES)
    left, sizes = num_tokens, []
    for t in range(1, num_steps):
        share = math.acos(t / num_steps) / (math.pi / 2)
        if curve == "cosine":
            share = math.cos(math.pi / 2 * t / num_steps)
        now_left = max(1, min(int(num_tokens * share), left - 1))
        sizes.append(left - now_left)
        left = now_left
    return (*sizes, left)
