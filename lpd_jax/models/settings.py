"""How to draw: every choice there is, declared here once.

The pipeline's arguments, the flags of the launch scripts, `generation` in a config.json, training
configs and the studies are all derived from the fields of `Generation`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lpd_jax.decoding.device_choices import drawing_dtype
from lpd_jax.decoding.order import check_kind, check_thresholds
from lpd_jax.decoding.sampling import Guidance, Sampling
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.runtime.arguments import check_choice, check_whole
from lpd_jax.runtime.config_fields import check_types, from_mapping, to_mapping

MAX_SEED = 2**32 - 1
MAX_OUTPUT_SIZE = 4096
DTYPES = ("float32", "bfloat16")


def choice(default: Any, text: str) -> Any:
    """A field whose help says what the choice does: in a flag, in a docstring."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Generation:
    """How pictures are drawn from a transformer. None stands for the family's own choice.

    Raises:
        UserError: names the field, its value and what is allowed.
    """

    num_steps: int | None = choice(None, "Decoding steps, 1 to the number of tokens.")
    group_sizes: tuple[int, ...] | None = choice(None, "Tokens of each step; sets the steps too.")
    order: str | None = choice(None, "raster, random, halton, locality or region.")
    guidance_scale: float = choice(1.0, "Classifier-free guidance; 1 is off.")
    guidance_schedule: str | None = choice(None, "linear, constant, linear_before or linear_after.")
    temperature: float = choice(1.0, "Divides the logits; 0 takes the likeliest token.")
    top_k: int = choice(0, "Sample from the k likeliest tokens; 0 is all.")
    top_p: float = choice(1.0, "Sample from the likeliest tokens of this mass; 1 is all.")
    seed: int = choice(0, "Another seed gives other pictures.")
    output_size: int | None = choice(None, "Height in pixels to resize pictures to (bicubic).")
    dtype: str | None = choice(
        None, "To compute in: float32 or bfloat16. Default: bfloat16 on TPUs and newer NVIDIA GPUs."
    )
    proximity_threshold: float = choice(
        1.0, "Locality-aware order: how much drawn neighbourhood makes a cell ready."
    )
    repulsion_threshold: int | None = choice(
        None, "Locality-aware order: cells of a group this near to each other are set aside."
    )

    def __post_init__(self):
        check_types(self)
        if self.group_sizes is not None:
            schedule = GroupSchedule(self.group_sizes)
            object.__setattr__(self, "group_sizes", schedule.group_sizes)
        if self.num_steps is not None:
            check_whole("num_steps", self.num_steps, 1)
        if self.order is not None:
            check_kind(self.order)
        self.sampling, self.guidance  # noqa: B018 - their own checks
        check_whole("seed", self.seed, 0, MAX_SEED)
        if self.output_size is not None:
            check_whole("output_size", self.output_size, 1, MAX_OUTPUT_SIZE)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        check_thresholds(1, self.proximity_threshold, self.repulsion_threshold)

    @classmethod
    def published(cls, config: Any, num_steps: int | None = None) -> "Generation":
        """How the authors draw with a model of these sizes, in so many steps.

        Args:
            config: of a transformer, such as `find_model("lpd_l")`.
            num_steps: None is the first that they published; others take its other settings.
        """
        from lpd_jax.models.family import transformer_of  # families speak of this class

        if num_steps is not None:
            num_steps = check_whole("num_steps", num_steps, 1)
        return transformer_of(config).published(num_steps)

    @property
    def computed_in(self) -> str:
        """`dtype`, or what the device likes where nobody says."""
        return self.dtype or drawing_dtype()

    @property
    def sampling(self) -> Sampling:
        """Temperature, top-k and top-p, as the scan takes them."""
        return Sampling.make(self.temperature, self.top_k, self.top_p)

    @property
    def guidance(self) -> Guidance:
        """Scale and schedule, as the scan takes them."""
        return Guidance.make(self.guidance_scale, self.guidance_schedule or "linear")

    def updated(self, choices: Mapping[str, Any], path: str = "") -> "Generation":
        """The same, with the choices that are not None in their place.

        Steps and group sizes decide the same thing: whichever is given replaces the other.

        Args:
            choices: by field name.
            path: name of what holds them, for errors.

        Raises:
            UserError: an unknown field, or a value that is not allowed.
        """
        given = {name: value for name, value in choices.items() if value is not None}
        if "dtype" in given:
            given["dtype"] = name_of_dtype(given["dtype"])
        mine: dict[str, Any] = vars(self)
        if given.keys() & {"num_steps", "group_sizes"}:
            mine = mine | {"num_steps": None, "group_sizes": None}
        return from_mapping(Generation, mine | given, path)

    def to_mapping(self) -> dict[str, Any]:
        """What was chosen, ready for JSON; fields at their defaults are left out."""
        defaults = Generation()
        mapping = to_mapping(self)
        return {
            name: value
            for name, value in mapping.items()
            if getattr(self, name) != getattr(defaults, name)
        }


def name_of_dtype(dtype: Any) -> Any:
    """The name of a type of NumPy or JAX, such as `jnp.bfloat16`; anything else as it is."""
    is_type = isinstance(dtype, type | np.dtype)
    try:
        return np.dtype(dtype).name if is_type else dtype
    except TypeError:
        return dtype


FIELDS = {field.name: field for field in dataclasses.fields(Generation)}
