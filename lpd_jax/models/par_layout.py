"""PAR's sizes, and what stands in which slot: ranks, schedule, rotary positions.

Letters: N tokens of an image (ranks in generation order), T slots, K head width, n tokens at a
time.
"""

import dataclasses
import math

import numpy as np

from lpd_jax.decoding.grid import check_grid
from lpd_jax.decoding.order import region_order
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.decoding.step_table import causal_group_mask
from lpd_jax.models.llama_sizes import RATES, SIZES, check_stds, swiglu_dim
from lpd_jax.models.rotary import cell_rope, check_rotary_heads
from lpd_jax.runtime.config_fields import check_rates, check_sizes, check_types, later_field
from lpd_jax.runtime.errors import UserError, shown

GROUP_ATTENTION = ("full", "causal")


@dataclasses.dataclass(frozen=True)
class PARConfig:
    """Sizes of a PAR transformer; `num_parallel` is n, and 1 is LlamaGen.

    `grid_size` is (height, width) in tokens, or (frames, height, width) of a clip, whose frames are
    drawn one after another; only the first n tokens of the clip come one by one.

    `matrix_std` and `embedding_std` are those of fresh weights: 0.02 as published, too little for
    narrow models. Three more fields are for the paper's studies (section 4.3); released models
    have the defaults.

    num_regions: of the generation order; None is one for each of the n tokens of a step, and 1
        the raster order, n neighbours at a time.
    sequential_start: the first n tokens come one by one; else they are the first group.
    group_attention: "full", or "causal", where a slot sees none behind it, not even in its group.
    region_split: how many regions there are along frames, height and width, n in all; () is as many
        along height as along width, in each frame. (5, 1, 1) takes one cell of five frames at once.
    """

    num_layers: int
    embed_dim: int
    num_heads: int
    num_parallel: int = 4
    grid_size: tuple[int, ...] = (24, 24)
    codebook_size: int = 16384
    num_classes: int = 1000
    mlp_multiple: int = 256
    matrix_std: float = 0.02
    embedding_std: float = 0.02
    num_regions: int | None = None
    sequential_start: bool = True
    group_attention: str = "full"
    label_drop_rate: float = 0.1
    token_drop_rate: float = 0.1
    dropout_rate: float = 0.1
    region_split: tuple[int, ...] = later_field(())

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        check_grid(self.grid_size, "grid_size")
        check_rates(self, RATES)
        check_stds(self)
        check_rotary_heads(self.embed_dim, self.num_heads, self.grid_size)
        if self.region_split:
            self.check_split()
        elif self.num_regions is None:
            region_order(self.grid_size, self.num_parallel, "num_parallel")
        else:
            region_order(self.grid_size, self.num_regions)
        check_sizes(self, ("num_parallel",))
        if self.num_tokens % self.num_parallel:
            raise UserError(
                f"num_parallel: got {self.num_parallel}, allowed are divisors of the "
                f"{self.num_tokens} tokens of the grid {self.grid_size}"
            )
        if self.group_attention not in GROUP_ATTENTION:
            raise UserError(
                f"group_attention: got {shown(self.group_attention)}, allowed are "
                f"{', '.join(GROUP_ATTENTION)}"
            )

    def check_split(self) -> None:
        region_order(self.grid_size, self.region_split, "region_split")
        if math.prod(self.region_split) != self.num_parallel:
            raise UserError(
                f"region_split: got {shown(self.region_split)}, allowed are numbers whose product "
                f"is num_parallel, {self.num_parallel}"
            )
        if self.num_regions is not None:
            raise UserError(
                f"num_regions: got {self.num_regions}, allowed beside region_split is None"
            )

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid_size)

    @property
    def regions(self) -> int:
        """Regions of the generation order."""
        return self.num_parallel if self.num_regions is None else self.num_regions

    @property
    def order_kind(self) -> str:
        """What the one order that the model knows is called in `decoding.order.ORDERS`."""
        return "region" if self.regions > 1 else "raster"

    @property
    def num_singles(self) -> int:
        """Tokens that come one by one before the groups."""
        return self.num_parallel if self.sequential_start else 0

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.num_classes

    @property
    def mlp_dim(self) -> int:
        return swiglu_dim(self.embed_dim, self.mlp_multiple)


LLAMAGEN_SIZES = {
    "b": (12, 768, 12),
    "l": (24, 1024, 16),
    "xl": (36, 1280, 20),
    "xxl": (48, 1536, 24),
    "xxxl": (48, 2560, 40),
    "1b": (22, 2048, 32),
    "3b": (24, 3200, 32),
    "7b": (32, 4096, 32),
}
PAR_MODELS = {
    f"par_{size}_{n}x": PARConfig(*LLAMAGEN_SIZES[size], num_parallel=n)
    for size in ("b", "l", "xl", "xxl", "3b")
    for n in (4, 16)
}
PAR_MODELS |= {
    f"llamagen_{size}": PARConfig(*sizes, num_parallel=1) for size, sizes in LLAMAGEN_SIZES.items()
}
# Clips of UCF-101 by the tokens of `nbp_video` (arXiv 2412.15119, section 4.3). The paper counts
# 792 M parameters; XL's layers with 64,000 codes have 895 M, both their tables among them.
PAR_MODELS |= {
    f"par_video_xl_{n}x": PARConfig(
        *LLAMAGEN_SIZES["xl"],
        num_parallel=n,
        grid_size=(5, 16, 16),
        codebook_size=64_000,
        num_classes=101,
    )
    for n in (1, 4, 16)
}


def par_order(config: PARConfig) -> np.ndarray:
    """The one order that a model knows, int32 `[N]`: rank -> raster position (section 3.2)."""
    return region_order(config.grid_size, config.region_split or config.regions)


def par_schedule(config: PARConfig) -> GroupSchedule:
    """n single tokens, then n at a time: n + (N - n) / n steps (section 3.2)."""
    n, singles = config.num_parallel, config.num_singles
    return GroupSchedule((1,) * singles + (n,) * ((config.num_tokens - singles) // n))


def slot_ranks(config: PARConfig) -> np.ndarray:
    """Rank of the token that each of the N slots holds, int32 `[N]`; -1 holds none.

    Slot k predicts the token of rank k. The first group has one token to go by, or the class;
    transition tokens fill up its other n - 1 slots.
    """
    n, first, slots_T = config.num_parallel, config.num_singles, np.arange(config.num_tokens)
    ranks_T = np.where(slots_T <= first, slots_T - 1, slots_T - n)
    return np.where((slots_T > first) & (slots_T < first + n), -1, ranks_T).astype(np.int32)


def slot_mask(config: PARConfig) -> np.ndarray:
    """What the N slots see of each other, bool `[N, N]`."""
    if config.group_attention == "causal":
        return np.tri(config.num_tokens, dtype=bool)
    return causal_group_mask(par_schedule(config))


def rope_table(config: PARConfig) -> np.ndarray:
    """(cos, sin) of each slot's pairs, float32 `[N, K / 2, 2]`, by the cell of the token it holds.

    Slots without a token have zeros: their queries and keys vanish, as in the released models.
    """
    ranks_T = slot_ranks(config)
    cells_NK2 = cell_rope(config.grid_size, config.embed_dim // config.num_heads)
    table_TK2 = cells_NK2[par_order(config)[ranks_T]]
    return np.where((ranks_T >= 0)[:, None, None], table_TK2, np.float32(0))
