"""The video tokenizer as a family: what it says of itself.

Letters: B clips, T frames, H W pixels, t h w their grid of tokens, C channels.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lpd_jax.models.causal_chunks import in_chunks
from lpd_jax.models.clip_convolution import CLIP_CONVOLUTIONS
from lpd_jax.models.family import register
from lpd_jax.models.tokenizer_family import EXACT, TokenizerFamily
from lpd_jax.models.tokenizer_loss import (
    LossParts,
    Perceptual,
    Rebuilt,
    code_shares,
    picture_comparison,
)
from lpd_jax.models.video_blocks import PAST, Sizes
from lpd_jax.models.video_inflation import inflate
from lpd_jax.models.video_tokenizer import (
    IMAGE_CHANNELS,
    VIDEO_MODELS,
    VideoConfig,
    VideoTokenizer,
    decoder_layers,
    encoder_layers,
    last_convolution,
    multiply_adds,
)
from lpd_jax.runtime.errors import VALUE_LENGTH, UserError, cut

TOKENS_AT_ONCE = 4  # along time, of a chunk; the first has one more, which is one frame


@register
class VideoFamily(TokenizerFamily):
    """NBP's tokenizer of clips, in MAGVIT-v2's manner, and small relatives."""

    name = "video"
    title = "video"
    config_type = VideoConfig
    models = VIDEO_MODELS
    axes: ClassVar[tuple[str, ...]] = ("frames", "height", "width")
    published_grid: ClassVar[tuple[int, ...]] = (5, 16, 16)
    products = tuple(CLIP_CONVOLUTIONS)
    starts_from = {"video_pictures": ("time_strides",)}

    config: VideoConfig

    def init(self, key: jax.Array) -> Any:
        side = self.config.pixels_per_token
        clips_BTHWC = jnp.zeros((1, 1, side, side, IMAGE_CHANNELS))
        return VideoTokenizer(self.config).init(key, clips_BTHWC)["params"]

    def from_other(self, params: Any, source: VideoConfig) -> Any:
        """A tokenizer of clips starts from one of pictures: see `inflate`."""
        return params if source.window == self.config.window else inflate(params, self.config)

    def grid_of(self, size: tuple[int, ...], field: str = "images") -> tuple[int, ...]:
        frames, pixels = self.config.frames_per_token, self.config.pixels_per_token
        whole = len(size) == 3 and min(size) >= 1 and (size[0] - 1) % frames == 0
        if not whole or any(side % pixels for side in size[1:]):
            got = "x".join(map(str, size))
            raise UserError(
                f"{field}: got {cut(got, VALUE_LENGTH)} pixels, allowed are frames x height x "
                f"width: 1 and a multiple of {frames} frames, and sides that are multiples of "
                f"{pixels}, the side of a token"
            )
        return (1 + (size[0] - 1) // frames, *(side // pixels for side in size[1:]))

    def size_of(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        self.check_axes(grid)
        frames, *sides = grid
        return (
            1 + (frames - 1) * self.config.frames_per_token,
            *(side * self.config.pixels_per_token for side in sides),
        )

    def encode(
        self, params: Any, images_BHWC: jax.Array, tokens_at_once: int = TOKENS_AT_ONCE
    ) -> jax.Array:
        """Tokens int32 `[B, t, h, w]` of clips uint8 `[B, T, H, W, 3]`, in chunks of so many."""
        rest = tokens_at_once * self.config.frames_per_token

        def run(clips_BTHWC: jax.Array, past: Any) -> tuple[jax.Array, Any]:
            return self._run("encode", params, clips_BTHWC.astype(jnp.float32) / 255.0, past)

        return in_chunks(run, images_BHWC, 1 + rest, rest)

    def decode(
        self,
        params: Any,
        tokens_Bhw: jax.Array,
        dtype: Any = jnp.float32,
        tokens_at_once: int = TOKENS_AT_ONCE,
    ) -> jax.Array:
        """Clips, float32 about [-1, 1], `[B, T, H, W, 3]`, of tokens int32 `[B, t, h, w]`."""

        def run(tokens_Bthw: jax.Array, past: Any) -> tuple[jax.Array, Any]:
            return self._run("decode", params, tokens_Bthw, past, dtype)

        return in_chunks(run, tokens_Bhw, 1 + tokens_at_once, tokens_at_once) * 2.0 - 1.0

    def to_bytes(self, images_BHWC: jax.Array) -> jax.Array:
        """As released: cut off, not rounded."""
        pixels_BTHWC = jnp.clip((images_BHWC + 1.0) / 2.0, 0.0, 1.0)
        return (pixels_BTHWC * 255.0).astype(jnp.uint8)

    def reconstruct(self, params: Any, images_BHWC: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(EXACT):
            tokens_Bthw = self.encode(params, images_BHWC)
        return self.to_bytes(self.decode(params, tokens_Bthw))

    def loss_parts(
        self,
        weights: Any,
        dtype: Any = jnp.float32,
        perceptual: Perceptual | None = None,
        products: str = "plain",
    ) -> LossParts:
        """Pixels and looks, frame by frame: FSQ learns no codes, and so adds no loss."""
        tokenizer = VideoTokenizer(self.config, dtype, products)

        def rebuild(params: Any, images: jax.Array) -> Rebuilt:
            clips_BTHWC = self.to_clips(images)
            outputs: Any = tokenizer.apply({"params": params}, (clips_BTHWC + 1.0) / 2.0)
            rebuilt_BTHWC, _, _, tokens_Bthw = outputs
            shares_V = code_shares(tokens_Bthw, self.config.codebook_size)
            rebuilt = (rebuilt_BTHWC * 2.0 - 1.0).reshape(images.shape)
            return Rebuilt(rebuilt, jnp.zeros(()), shares_V)

        compare = picture_comparison(weights, perceptual)
        last = ("decoder", last_convolution(self.config), "conv", "kernel")
        return LossParts(rebuild, compare, last)

    def part_flops(self, part: str, grid: tuple[int, ...]) -> float:
        """Convolutions of a clip as a whole; chunks have the same."""
        params = jax.eval_shape(self.init, jax.random.key(0))
        if part == "encoder":
            layers, size = encoder_layers(self.config), self.size_of(grid)
        else:
            layers, size = decoder_layers(self.config), grid
        return 2.0 * multiply_adds(layers, params[part], self.as_clip(size))

    def to_clips(self, images: jax.Array) -> jax.Array:
        """Clips `[B, T, H, W, 3]` of what the family is given."""
        return images

    def as_clip(self, size: tuple[int, ...]) -> Sizes:
        """Frames, height and width of what the layers are given."""
        frames, height, width = size
        return frames, height, width

    def part_bytes(self, part: str) -> int:
        params = jax.eval_shape(self.init, jax.random.key(0))
        return 4 * sum(leaf.size for leaf in jax.tree.leaves(params[part]))

    def _run(
        self, method: str, params: Any, x: jax.Array, past: Any, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Any]:
        """A chunk through "encode" or "decode", and what the next one needs of it."""
        variables = {"params": params} | ({} if past is None else {PAST: past})
        output, state = VideoTokenizer(self.config, dtype).apply(
            variables, x, past is not None, method=method, mutable=[PAST]
        )
        return output, state[PAST]
