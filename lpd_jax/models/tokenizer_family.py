"""What a tokenizer family says of itself.

Letters: B images, h w their token grid, H W pixels, C channels. Where images are clips, T frames
come before H and W, and t before h and w.
"""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lpd_jax.images import to_uint8
from lpd_jax.models.tokenizer_loss import LossParts, Perceptual, whole_loss
from lpd_jax.models.transformer_family import LossFunction
from lpd_jax.runtime.errors import VALUE_LENGTH, UserError, cut

# What products are made in on the way to tokens. A CPU makes them in float32 whatever is asked
# for. TPUs by default make them in bfloat16 and GPUs in TF32: of 1,024 codes that changes 1.2 % and
# 0.1 % of the tokens, since codes lie close together.
ENCODE_PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
EXACT = "float32"


def picture_grid(size: tuple[int, ...], pixels: int, field: str) -> tuple[int, ...]:
    """The token grid of (height, width) pixels, where a token has `pixels` along either.

    Raises:
        UserError: a size that is no whole number of tokens, named as `field`.
    """
    if len(size) != 2 or min(size) < 1 or any(side % pixels for side in size):
        got = "x".join(map(str, size))
        raise UserError(
            f"{field}: got {cut(got, VALUE_LENGTH)} pixels, allowed are a height and a width "
            f"that are multiples of {pixels}, the side of a token"
        )
    return tuple(side // pixels for side in size)


class TokenizerFamily(abc.ABC):
    """A tokenizer family, for one config: pixels to a grid of tokens and back.

    name: `family` in config files.
    title: what errors and tables call it.
    config_type: a frozen dataclass with a `codebook_size`.
    models: configs of the published tokenizers by name.
    axes: what the sizes of an image are called, in their order.
    published_grid: of tokens, what a tokenizer without a transformer takes images for.
    products: of what numbers its convolutions can be in training, see `compute.products`.
    starts_from: other families whose weights `from_other` takes, and the fields in which their
        configs may differ.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    config_type: ClassVar[type]
    models: ClassVar[Mapping[str, Any]] = {}
    axes: ClassVar[tuple[str, ...]] = ("height", "width")
    published_grid: ClassVar[tuple[int, ...]] = (16, 16)
    products: ClassVar[tuple[str, ...]] = ("plain",)
    starts_from: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, config: Any):
        self.config = config

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Any:
        """Fresh parameters, each leaf boxed with its logical axis names where it has some."""

    def for_drawing(self, params: Any) -> Any:
        """Parameters as `decode` takes them without a copy in every call."""
        return params

    def for_saving(self, params: Any) -> Any:
        """What `for_drawing` was given."""
        return params

    def from_other(self, params: Any, source: Any) -> Any:
        """Parameters of a tokenizer that differs in nothing that shapes tell, made to fit."""
        del source
        return params

    @abc.abstractmethod
    def grid_of(self, size: tuple[int, ...], field: str = "images") -> tuple[int, ...]:
        """The token grid of (height, width) pixels.

        Raises:
            UserError: a size that is no whole number of tokens, named as `field`.
        """

    @abc.abstractmethod
    def size_of(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """(height, width) in pixels of a token grid; UserError for one of other axes."""

    def check_axes(self, grid: tuple[int, ...]) -> None:
        """Raises UserError for a grid that has another number of axes."""
        if len(grid) != len(self.axes):
            raise UserError(
                f"grid: got {cut('x'.join(map(str, grid)), VALUE_LENGTH)} tokens, allowed for a "
                f"{self.title} tokenizer are ({', '.join(self.axes)})"
            )

    @abc.abstractmethod
    def encode(self, params: Any, images_BHWC: jax.Array) -> jax.Array:
        """Tokens int32 `[B, h, w]` of pictures uint8 `[B, H, W, 3]`.

        In JAX's default precision; `models.pixels.encode_images` chooses one.
        """

    @abc.abstractmethod
    def decode(self, params: Any, tokens_Bhw: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """Pictures, float32 about [-1, 1], `[B, H, W, 3]`, of tokens int32 `[B, h, w]`.

        The networks compute in `dtype`.
        """

    def to_bytes(self, images_BHWC: jax.Array) -> jax.Array:
        """Pixels uint8 of what `decode` gives, as published code rounds them."""
        return to_uint8(images_BHWC)

    @abc.abstractmethod
    def reconstruct(self, params: Any, images_BHWC: jax.Array) -> jax.Array:
        """What encoding and decoding make of pictures: uint8 `[B, H, W, 3]` both."""

    @abc.abstractmethod
    def loss_parts(
        self,
        weights: Any,
        dtype: Any = jnp.float32,
        perceptual: Perceptual | None = None,
        products: str = "plain",
    ) -> LossParts:
        """The parts of the training loss.

        Args:
            weights: `tokenizer_loss` of the training config.
            dtype: what the networks compute in.
            perceptual: how far apart pictures look; None: not asked.
            products: one of `products`.
        """

    def loss(self, weights: Any, **options: Any) -> LossFunction:
        """The training loss over `{"images": uint8 [B, H, W, 3]}`; arguments of `loss_parts`."""
        return whole_loss(self.loss_parts(weights, **options))

    @property
    def learns_codes(self) -> bool:
        """Whether there is a codebook, whose codes may die."""
        return False

    def restart_codes(
        self, params: Any, usage_V: jax.Array, restart_below: float, key: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Parameters and usage after codes that are hardly used were moved to where latents are.

        Args:
            usage_V: share of the latents that each code had of late.
            restart_below: of the even share; codes below it are moved.
            key: of this step.
        """
        del restart_below, key
        return params, usage_V

    def part_flops(self, part: str, grid: tuple[int, ...]) -> float:
        """FLOPs of one picture's way through "encoder" or "decoder"; 0 where nobody has counted."""
        del part, grid
        return 0.0

    def part_bytes(self, part: str) -> int:
        """Bytes of the float32 weights of "encoder" or "decoder"; 0 where nobody has counted."""
        del part
        return 0
