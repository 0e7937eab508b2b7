"""PAR's sizes, and what stands in which slot: ranks, schedule, rotary positions.

Letters: N tokens of an image (ranks in generation order), T slots, K head width, n tokens at a
time.
"""

import dataclasses
import math

import numpy as np

from lpd_jax.decoding.order import region_order
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.fields import check_rates, check_sizes

ROPE_BASE = 10000.0
SIZES = ("num_layers", "embed_dim", "num_heads", "mlp_multiple", "codebook_size", "num_classes")
RATES = ("label_drop_rate", "token_drop_rate", "dropout_rate")


@dataclasses.dataclass(frozen=True)
class PARConfig:
    """Sizes of a PAR transformer; `num_parallel` is n, and 1 is LlamaGen."""

    num_layers: int
    embed_dim: int
    num_heads: int
    num_parallel: int = 4
    grid_size: tuple[int, int] = (24, 24)
    codebook_size: int = 16384
    num_classes: int = 1000
    mlp_multiple: int = 256
    label_drop_rate: float = 0.1
    token_drop_rate: float = 0.1
    dropout_rate: float = 0.1

    def __post_init__(self):
        object.__setattr__(self, "grid_size", tuple(self.grid_size))
        check_sizes(self, SIZES)
        check_rates(self, RATES)
        # Half of the pairs of a head turn with the row, half with the column.
        if self.embed_dim % (4 * self.num_heads):
            raise ValueError(
                f"num_heads: got {self.num_heads}, allowed are numbers that cut embed_dim "
                f"{self.embed_dim} into multiples of 4"
            )
        region_order(self.grid_size, self.num_parallel)

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid_size)

    @property
    def null_class(self) -> int:
        """The label that stands for no class."""
        return self.num_classes

    @property
    def mlp_dim(self) -> int:
        """Two thirds of four widths, as SwiGLU has it, rounded up."""
        return -(-int(8 * self.embed_dim / 3) // self.mlp_multiple) * self.mlp_multiple


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


def slot_ranks(config: PARConfig) -> np.ndarray:
    """Rank of the token that each of the N slots holds, int32 `[N]`; -1 holds none.

    Slot k predicts the token of rank k.
    """
    n, slots_T = config.num_parallel, np.arange(config.num_tokens)
    ranks_T = np.where(slots_T <= n, slots_T - 1, slots_T - n)
    return np.where((slots_T > n) & (slots_T < 2 * n), -1, ranks_T).astype(np.int32)


def rope_table(config: PARConfig) -> np.ndarray:
    """(cos, sin) of each slot's pairs, float32 `[N, K / 2, 2]`, by the cell of the token it holds.

    The first half of the pairs turns with the row, the second with the column. Slots without a
    token have zeros: their queries and keys vanish, as in the released models.
    """
    num_pairs = config.embed_dim // config.num_heads // 2
    turns = ROPE_BASE ** (-2 * np.arange(num_pairs // 2) / num_pairs)
    ranks_T = slot_ranks(config)
    cells_T = region_order(config.grid_size, config.num_parallel)[ranks_T]
    places_T2 = np.stack(np.divmod(cells_T, config.grid_size[1]), axis=1)
    angles_TK = (places_T2[:, :, None] * turns[None, None]).reshape(len(ranks_T), num_pairs)
    table_TK2 = np.stack([np.cos(angles_TK), np.sin(angles_TK)], axis=-1)
    return np.where((ranks_T >= 0)[:, None, None], table_TK2, 0.0).astype(np.float32)


def par_schedule(config: PARConfig) -> GroupSchedule:
    """n single tokens, then n at a time: n + (N - n) / n steps (section 3.2)."""
    n, num_tokens = config.num_parallel, config.num_tokens
    return GroupSchedule((1,) * n + (n,) * ((num_tokens - n) // n))
