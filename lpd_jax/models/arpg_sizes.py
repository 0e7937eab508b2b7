"""Sizes of ARPG, and those that were published (arXiv 2503.10568)."""

import dataclasses

from lpd_jax.models.llama_sizes import LlamaSizes
from lpd_jax.runtime.config_fields import later_field
from lpd_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class ARPGConfig(LlamaSizes):
    """Sizes of an ARPG transformer; `num_layers` counts both halves.

    Queries begin as one vector, which does not say where they are. With `turned_queries`, which no
    published model has, it is turned to its position, as RandAR's is.
    """

    turned_queries: bool = later_field(False)

    def __post_init__(self):
        super().__post_init__()
        if self.num_layers % 2:
            raise UserError(
                f"num_layers: got {self.num_layers}, allowed are even numbers: one half reads, "
                "the other asks"
            )

    @property
    def half(self) -> int:
        """Layers that read, and as many that ask."""
        return self.num_layers // 2

    @property
    def num_embeddings(self) -> int:
        """Rows of the one table: codes, the query, classes, no class, and one never used."""
        return self.codebook_size + self.num_classes + 3


ARPG_MODELS = {
    "arpg_l": ARPGConfig(24, 1024, 16),
    "arpg_xl": ARPGConfig(36, 1280, 20),
    "arpg_xxl": ARPGConfig(48, 1536, 24),
    "arpg_xl_512": ARPGConfig(36, 1280, 20, grid_size=(32, 32)),
}
