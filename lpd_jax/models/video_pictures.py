"""The video tokenizer's twin for pictures: the same layers without time, to start clips from.

Trained on pictures, of which there are more, it is what a tokenizer of clips is inflated from; see
`video_inflation`. Letters: B pictures, H W pixels, h w their grid of tokens, C channels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.models.family import register
from lpd_jax.models.tokenizer_family import picture_grid
from lpd_jax.models.video_blocks import WINDOW, Sizes
from lpd_jax.models.video_family import VideoFamily
from lpd_jax.models.video_tokenizer import VideoConfig, VideoTokenizer
from lpd_jax.runtime.errors import UserError, shown


@dataclasses.dataclass(frozen=True)
class VideoPictureConfig(VideoConfig):
    """Sizes as those of the tokenizer of clips; of time there is nothing to say."""

    time_strides: tuple[int, ...] = ()

    def check_time_strides(self) -> None:
        if self.time_strides:
            raise UserError(
                f"time_strides: got {shown(self.time_strides)}, allowed for a tokenizer of "
                "pictures is ()"
            )

    @property
    def window(self) -> Sizes:
        return (1, *WINDOW[1:])

    @property
    def strides(self) -> tuple[Sizes, ...]:
        return ((1, 2, 2),) * (len(self.channel_multipliers) - 1)


@register
class VideoPicturesFamily(VideoFamily):
    """A picture is a clip of one frame, without the axis."""

    name = "video_pictures"
    title = "picture"
    config_type = VideoPictureConfig
    models = {}
    axes = ("height", "width")
    published_grid = (16, 16)
    starts_from = {}

    config: VideoPictureConfig

    def grid_of(self, size: tuple[int, ...], field: str = "images") -> tuple[int, ...]:
        return picture_grid(size, self.config.pixels_per_token, field)

    def size_of(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        self.check_axes(grid)
        return tuple(side * self.config.pixels_per_token for side in grid)

    def encode(self, params: Any, images_BHWC: jax.Array, tokens_at_once: int = 1) -> jax.Array:
        """Tokens int32 `[B, h, w]` of pictures uint8 `[B, H, W, 3]`."""
        del tokens_at_once
        return self._bound(params).encode(self.to_clips(images_BHWC).astype(jnp.float32) / 255.0)[
            :, 0
        ]

    def decode(
        self,
        params: Any,
        tokens_Bhw: jax.Array,
        dtype: Any = jnp.float32,
        tokens_at_once: int = 1,
    ) -> jax.Array:
        """Pictures, float32 about [-1, 1], `[B, H, W, 3]`, of tokens int32 `[B, h, w]`."""
        del tokens_at_once
        return self._bound(params, dtype).decode(tokens_Bhw[:, None])[:, 0] * 2.0 - 1.0

    def to_clips(self, images: jax.Array) -> jax.Array:
        return images[:, None]

    def as_clip(self, size: tuple[int, ...]) -> Sizes:
        height, width = size
        return 1, height, width

    def _bound(self, params: Any, dtype: Any = jnp.float32) -> VideoTokenizer:
        return VideoTokenizer(self.config, dtype).bind({"params": params})
