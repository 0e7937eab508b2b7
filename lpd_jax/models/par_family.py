"""PAR and LlamaGen as a family: one order and one schedule of their own (arXiv 2412.15119).

Letters: N tokens of an image, D width, P rows of the previous group, Q query rows, R rows of the
batch (2B under guidance).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.grid import check_order
from lpd_jax.decoding.scan import Step, StepRows
from lpd_jax.decoding.schedule import GroupSchedule, make_schedule
from lpd_jax.decoding.step_table import make_segments, make_step_table
from lpd_jax.decoding.wavefront import (
    wavefront_order,
    wavefront_schedule,
    window_of,
    windows_by_steps,
)
from lpd_jax.models.block_family import BlockFamily
from lpd_jax.models.family import register
from lpd_jax.models.layers import KVCache
from lpd_jax.models.par import PAR, decode_step, init_cache
from lpd_jax.models.par_layout import PAR_MODELS, PARConfig, par_order, par_schedule
from lpd_jax.models.par_overlap import overlap_decoder
from lpd_jax.models.settings import Generation
from lpd_jax.models.transformer import cast_matrices, class_rows, unstack_blocks
from lpd_jax.models.transformer_family import RowCount, TeacherForced
from lpd_jax.runtime.errors import UserError, shown

# Tokens, tokens at a time, width -> guidance scale: LlamaGen (2406.06525), PAR (2412.15119).
PUBLISHED_SCALES = {
    (256, 1, 768): 2.0,
    (256, 1, 1024): 2.0,
    (576, 1, 768): 2.0,
    (576, 1, 1024): 2.0,
    (576, 1, 1280): 1.75,
    (576, 1, 1536): 1.75,
    (576, 1, 3200): 1.65,
    (576, 4, 1024): 1.6,
    (576, 4, 1280): 1.5,
    (576, 4, 1536): 1.435,
    (576, 4, 3200): 1.345,
    (576, 16, 1536): 1.435,  # of 4x: the paper names none
    (576, 16, 3200): 1.5,
    (1280, 1, 1280): 1.15,  # clips
    (1280, 4, 1280): 1.15,
    (1280, 16, 1280): 1.15,
}
PUBLISHED_TOP_K = {1280: 8000}  # tokens -> of clips; pictures take all
JUDGED_AT = {576: 256}  # tokens -> pixels: drawn at 384, resized for every published figure
# Single tokens, the transition, groups: cut there, no step is padded.
NUM_SEGMENTS = 3


@register
class PARFamily(BlockFamily):
    """Region by region in parallel; LlamaGen is the case of one token at a time."""

    name = "par"
    title = "PAR"
    config_type = PARConfig
    module = PAR
    models = PAR_MODELS
    any_order = False
    class_leaves = ("class_embed",)
    has_head = True

    config: PARConfig

    def defaults(self) -> Generation:
        return Generation(order=self.config.order_kind, guidance_schedule="constant")

    def published(self, num_steps: int | None = None) -> Generation:
        if num_steps is not None:
            self.schedule(num_steps)
        sizes = self.config.num_tokens, self.config.num_parallel, self.config.embed_dim
        chosen = {
            "num_steps": num_steps,
            "guidance_scale": PUBLISHED_SCALES.get(sizes, 1.0),
            "top_k": PUBLISHED_TOP_K.get(self.config.num_tokens, 0),
            "output_size": JUDGED_AT.get(self.config.num_tokens),
        }
        return self.defaults().updated(chosen)

    def schedule(
        self, num_steps: int | None = None, group_sizes: Iterable[int] | None = None
    ) -> GroupSchedule:
        """The model's own, or one of overlapping rows; UserError where another is asked for."""
        own, config = par_schedule(self.config), self.config
        if group_sizes is None and num_steps in (None, own.num_steps):
            return own
        if group_sizes is not None:
            asked = make_schedule(config.num_tokens, num_steps, tuple(group_sizes))
            if asked != own and self.window(asked) is None:
                raise UserError(
                    f"group_sizes: got {list(asked.group_sizes)}, allowed are {self.own_sizes()}"
                )
            return asked
        if not self.rows_may_overlap:
            raise UserError(
                f"num_steps: got {num_steps}, allowed is {own.num_steps}: this PAR model writes "
                f"{config.num_parallel} tokens at a time"
            )
        windows = windows_by_steps(config.grid_size)
        if num_steps not in windows:
            *fewer, _ = windows
            raise UserError(
                f"num_steps: got {shown(num_steps)}, allowed are {own.num_steps}, a token at a "
                f"time, and {', '.join(map(str, fewer))}, with rows that overlap"
            )
        return wavefront_schedule(config.grid_size, windows[num_steps])

    @property
    def rows_may_overlap(self) -> bool:
        """Whether rows of raster order are drawn a token at a time; see `par_overlap`."""
        return self.config.num_parallel == self.config.regions == 1

    def window(self, schedule: GroupSchedule) -> int | None:
        """Of a schedule whose rows overlap; None of others."""
        if not self.rows_may_overlap or schedule == par_schedule(self.config):
            return None
        return window_of(self.config.grid_size, schedule)

    def own_sizes(self) -> str:
        return (
            f"this PAR model's {self.config.num_singles} single tokens and then "
            f"{self.config.num_parallel} at a time"
        )

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
        """The model's own, as often as asked for; UserError where another is asked for."""
        del seed, first_index, proximity_threshold, repulsion_threshold
        window, own_N = self.window(schedule), par_order(self.config)
        if window is not None:
            own_N = wavefront_order(self.config.grid_size, window)
        own_BN, kind = np.tile(own_N, (num_orders, 1)), self.config.order_kind
        if order is None or isinstance(order, str):
            same, got = order in (None, kind), repr(order)
        else:
            order_BN = check_order(order, self.config.num_tokens, num_orders)
            same, got = np.array_equal(order_BN, own_BN), "another array"
        if not same:
            raise UserError(
                f"order: got {got}, allowed is {shown(kind)}: this PAR model has no other"
            )
        return own_BN

    def num_segments(self, asked: int | None) -> int:
        """Three: in fewer a step would be padded, and its padding would be a transition token."""
        if asked is not None and asked < NUM_SEGMENTS:
            raise UserError(
                f"num_segments: got {asked}, allowed for PAR are None and {NUM_SEGMENTS} or more: "
                "single tokens, the transition and groups are scans of their own"
            )
        return NUM_SEGMENTS if asked is None else asked

    def decoder(
        self, params: Any, labels_R: jax.Array, schedule: GroupSchedule, dtype: Any
    ) -> tuple[Step, Any]:
        """Logits are read off the rows that a step feeds back."""
        config = self.config
        if (window := self.window(schedule)) is not None:
            return overlap_decoder(config, params, labels_R, window, dtype)
        if schedule != par_schedule(config):
            raise UserError(
                f"group_sizes: got {schedule.group_sizes}, allowed are {self.own_sizes()}"
            )
        params = unstack_blocks(cast_matrices(params, dtype), config.num_layers)
        class_R1D = class_rows(params["class_embed"], labels_R)

        def step(rows: StepRows, cache: tuple[KVCache, ...]):
            held_RPD = params["token_embed"][rows.previous_tokens_RP]
            is_class_1P1 = (rows.previous_slots_P == 0)[None, :, None]
            held_RPD = jnp.where(is_class_1P1, class_R1D, held_RPD).astype(jnp.float32)
            # Slot k predicts rank k; the first query is of rank query_start - 1.
            start, num_rows = rows.query_start - 1, rows.query_positions_RQ.shape[1]
            return decode_step(config, params, held_RPD, start, num_rows, cache)

        return step, init_cache(config, len(labels_R), dtype)

    def module_inputs(self, inputs: TeacherForced) -> Sequence[Any]:
        return inputs.tokens_BN, inputs.labels_B

    def forward_flops(self) -> float:
        """Of N rows and N logits."""
        N, D, cfg = self.config.num_tokens, self.config.embed_dim, self.config
        attention = 2 * 2 * D * N * N  # twice, for values
        layer = 2 * self.layer_weights() * N + attention
        return float(cfg.num_layers * layer + 2 * N * D * cfg.codebook_size)

    def decoding_flops(self, schedule: GroupSchedule) -> float:
        """Products, attention, and the logits of all rows."""
        D, seen_by_rows, rows = self.config.embed_dim, 0, self.config.num_tokens
        for _, query_start, query_end in zip(*make_step_table(schedule), strict=True):
            # Slot k predicts rank k, the class in front: a step ends one slot earlier.
            seen_by_rows += int(query_end - query_start) * int(query_end - 1)
        layer = 2 * self.layer_weights() * rows + 2 * 2 * D * seen_by_rows  # scores, and values
        return float(self.config.num_layers * layer + 2 * D * self.config.codebook_size * rows)

    def layer_weights(self) -> int:
        """Entries of the matrices of one layer."""
        D = self.config.embed_dim
        return 4 * D * D + 3 * D * self.config.mlp_dim

    def count_rows(self, schedule: GroupSchedule, num_segments: int | None = None) -> RowCount:
        """Segments are as wide as their steps, so no row is padding; but where rows overlap."""
        num_segments = self.num_segments(num_segments)
        if self.window(schedule) is not None:
            # The previous group, and one that stands in where a row begins.
            segments = make_segments(schedule, num_segments)
            padded = sum(s.num_steps * (s.previous_width + 1) for s in segments)
            rows = self.config.num_tokens // self.config.grid_size[-1]
            begun = max(0, rows - 2)
            return RowCount(self.config.num_tokens + begun, padded, len(segments))
        return RowCount(self.config.num_tokens, self.config.num_tokens, None)

    def describe(self) -> dict[str, str]:
        cfg = self.config
        if cfg.num_parallel == 1:
            name = "LlamaGen" if cfg.regions == 1 else "PAR"
            return {"method": name, "first_tokens": "-", "inside_a_group": "-"}
        first = "one by one" if cfg.sequential_start else "at once"
        return {"method": "PAR", "first_tokens": first, "inside_a_group": cfg.group_attention}
