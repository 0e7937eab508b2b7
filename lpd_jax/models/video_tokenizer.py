"""The video tokenizer: clips to a grid of tokens and back, after MAGVIT-v2 (arXiv 2310.05737).

As NBP (arXiv 2502.07737) released it, which PAR's experiments on video use: causal convolutions in
three dimensions, and FSQ in place of a codebook. A clip of one frame is a picture. Channels last.
Dimension key: B clips, T frames, H W picture, t h w their grid of tokens, C channels, E numbers of
a code.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.quantizers import FSQ, check_quantizer
from lpd_jax.models.size_limits import MOST_WIDTH
from lpd_jax.models.video_blocks import (
    NORM_GROUPS,
    WINDOW,
    CausalConv,
    Fold,
    FrameNorm,
    Pointwise,
    ResidualUnit,
    Sizes,
    Swish,
    Unfold,
)
from lpd_jax.runtime.arguments import check_number, check_whole
from lpd_jax.runtime.config_fields import check_sizes, check_types, later_field
from lpd_jax.runtime.errors import UserError, shown

IMAGE_CHANNELS = 3
SIZES = {"base_channels": MOST_WIDTH, "num_res_blocks": 16}  # the most that anything is built of
MOST_MIDDLE_BLOCKS, MOST_RESOLUTIONS, MOST_LEVELS, MOST_PATCH = 16, 8, 16, 16
TIME_STRIDES = (1, 2)


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Sizes of a video tokenizer; one channel multiplier per resolution, highest first.

    `time_strides` says of each halving of height and width whether it halves the frames, too: 2, or
    1. `middle_blocks` more units are at the lowest resolution, in encoder and decoder each. The
    levels of FSQ are the codes: there are as many as their product.

    The others are for small tokenizers: squares of `patch_size` pixels are one place of the highest
    resolution, which saves most of the work; `res_blocks` says of each resolution how many units it
    has, where they are not `num_res_blocks`; with `narrow_unfolding` a decoder's channels become
    fewer where they unfold, not in the unit after. `norm_groups` are the groups of channels that a
    frame is normalised by: a channel that is a group by itself forgets its mean, the color of a
    background, so that narrow networks need fewer. Networks see pixels, which are in [0, 1], less
    `pixel_mean` and in units of `pixel_scale`, and so they write them.
    """

    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)
    num_res_blocks: int = 4
    middle_blocks: int = 4
    time_strides: tuple[int, ...] = (1, 2, 2)
    fsq_levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    patch_size: int = later_field(1)
    res_blocks: tuple[int, ...] = later_field(())
    narrow_unfolding: bool = later_field(False)
    norm_groups: int = later_field(NORM_GROUPS)
    pixel_mean: float = later_field(0.0)
    pixel_scale: float = later_field(1.0)

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        check_whole("middle_blocks", self.middle_blocks, 0, MOST_MIDDLE_BLOCKS)
        if len(self.fsq_levels) > MOST_LEVELS:
            raise UserError(
                f"fsq_levels: got {len(self.fsq_levels)} of them, allowed are at most {MOST_LEVELS}"
            )
        check_quantizer("fsq", self.fsq_levels, self.codebook_size, len(self.fsq_levels))
        resolutions = len(self.channel_multipliers)
        if not 1 <= resolutions <= MOST_RESOLUTIONS:
            raise UserError(
                f"channel_multipliers: got {resolutions or 'none'}, allowed is one for each of 1 "
                f"to {MOST_RESOLUTIONS} resolutions"
            )
        check_whole("norm_groups", self.norm_groups, 1, NORM_GROUPS)
        for width in self.widths:
            if not 1 <= width <= MOST_WIDTH or width % self.norm_groups:
                raise UserError(
                    f"base_channels, channel_multipliers: got {self.base_channels}, "
                    f"{shown(self.channel_multipliers)}, allowed are products that are multiples "
                    f"of {self.norm_groups} up to {MOST_WIDTH}"
                )
        check_number("pixel_mean", self.pixel_mean, 0.0, 1.0)
        check_number("pixel_scale", self.pixel_scale, 0.01, 1.0)
        check_whole("patch_size", self.patch_size, 1, MOST_PATCH)
        if self.res_blocks and len(self.res_blocks) != resolutions:
            raise UserError(
                f"res_blocks: got {shown(self.res_blocks)}, allowed are () and one number for each "
                f"of the {resolutions} resolutions"
            )
        for blocks in self.res_blocks:
            check_whole("res_blocks", blocks, 0, MOST_MIDDLE_BLOCKS)
        self.check_time_strides()

    def check_time_strides(self) -> None:
        strides, steps = self.time_strides, len(self.channel_multipliers) - 1
        if len(strides) != steps or not set(strides) <= set(TIME_STRIDES):
            raise UserError(
                f"time_strides: got {shown(strides)}, allowed is 1 or 2 for each of the "
                f"{steps} steps between {steps + 1} resolutions"
            )

    @property
    def codebook_size(self) -> int:
        return math.prod(self.fsq_levels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each resolution, highest first."""
        return tuple(self.base_channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def window(self) -> Sizes:
        """Frames, height and width that a convolution sees at once."""
        return WINDOW

    @property
    def strides(self) -> tuple[Sizes, ...]:
        """Of time, height and width, from each resolution to the next."""
        return tuple((stride, 2, 2) for stride in self.time_strides)

    @property
    def frames_per_token(self) -> int:
        return math.prod(self.time_strides)

    @property
    def pixels_per_token(self) -> int:
        return self.patch_size * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual units of each resolution, highest first."""
        return self.res_blocks or (self.num_res_blocks,) * len(self.channel_multipliers)

    @property
    def patch(self) -> Sizes:
        """Frames, height and width in pixels of a place of the highest resolution."""
        return (1, self.patch_size, self.patch_size)


# The public weights were trained on UCF-101, 17 frames of 128x128 at 8 frames a second.
VIDEO_MODELS = {"nbp_video": VideoConfig()}


class VideoTokenizer(nn.Module):
    """Encoder, quantizer, decoder. Pixels are in [0, 1]; each method takes parts of a clip, too.

    A part that is not the first `goes_on` from the collection PAST; see `causal_chunks`.
    """

    config: VideoConfig
    dtype: jnp.dtype = jnp.float32
    products: str = "plain"

    def setup(self):
        self.encoder = Stack(tuple(encoder_layers(self.config, self.products)))
        self.decoder = Stack(tuple(decoder_layers(self.config, self.products)))
        self.quantizer = FSQ(self.config.fsq_levels)

    def __call__(self, clips_BTHWC: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Rebuilt clips, bounded latents and codes `[B, t, h, w, E]`, tokens `[B, t, h, w]`.

        Gradients pass straight through the rounding.
        """
        bounded_BthwE = self.quantizer.bound(self.to_latents(clips_BTHWC))
        tokens_Bthw = self.quantizer.index(bounded_BthwE)
        codes_BthwE = self.quantizer.lookup(tokens_Bthw)
        straight_BthwE = bounded_BthwE + jax.lax.stop_gradient(codes_BthwE - bounded_BthwE)
        return self.to_pixels(straight_BthwE), bounded_BthwE, codes_BthwE, tokens_Bthw

    def to_latents(self, clips_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        """Latents `[B, t, h, w, E]` before they are bounded and rounded."""
        clips_BTHWC = (clips_BTHWC - self.config.pixel_mean) / self.config.pixel_scale
        return self.encoder(clips_BTHWC.astype(self.dtype), goes_on).astype(jnp.float32)

    def to_pixels(self, codes_BthwE: jax.Array, goes_on: bool = False) -> jax.Array:
        """Clips `[B, T, H, W, 3]`, about [0, 1]."""
        written_BTHWC = self.decoder(codes_BthwE.astype(self.dtype), goes_on).astype(jnp.float32)
        return written_BTHWC * self.config.pixel_scale + self.config.pixel_mean

    def encode(self, clips_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        """Tokens int32 `[B, t, h, w]` of clips."""
        latents_BthwE = self.to_latents(clips_BTHWC, goes_on)
        return self.quantizer.index(self.quantizer.bound(latents_BthwE))

    def decode(self, tokens_Bthw: jax.Array, goes_on: bool = False) -> jax.Array:
        """Clips `[B, T, H, W, 3]`, about [0, 1], of tokens."""
        return self.to_pixels(self.quantizer.lookup(tokens_Bthw), goes_on)


class Stack(nn.Module):
    """Layers one after another, named by their number, as in the released weights."""

    layers: tuple[nn.Module, ...]

    def __call__(self, x_BTHWC: jax.Array, goes_on: bool = False) -> jax.Array:
        for layer in self.layers:
            x_BTHWC = layer(x_BTHWC, goes_on)
        return x_BTHWC


def convolving_layers(
    config: VideoConfig, products: str
) -> tuple[Callable[..., CausalConv], Callable[..., ResidualUnit]]:
    """What makes a convolution, and a residual unit, of a number of channels."""
    options: dict[str, Any] = {"window": config.window, "products": products}
    conv = functools.partial(CausalConv, **options)
    return conv, functools.partial(ResidualUnit, groups=config.norm_groups, **options)


def encoder_layers(config: VideoConfig, products: str = "plain") -> list[nn.Module]:
    """From pixels to latents: the last layer writes a number for each level of FSQ."""
    conv, unit = convolving_layers(config, products)
    layers: list[nn.Module] = [] if config.patch_size == 1 else [Fold(config.patch)]
    layers += [conv(config.base_channels)]
    for width, blocks, strides in resolutions(config):
        layers += [unit(width) for _ in range(blocks)]
        if strides is not None:
            layers += [conv(width, strides=strides)]
    layers += [unit(config.widths[-1]) for _ in range(config.middle_blocks)]
    last = Pointwise(len(config.fsq_levels), (1, 1, 1))
    return [*layers, FrameNorm(config.norm_groups), Swish(), last]


def decoder_layers(config: VideoConfig, products: str = "plain") -> list[nn.Module]:
    """From codes to pixels: the encoder turned round."""
    conv, unit = convolving_layers(config, products)
    widths, blocks = config.widths[::-1], config.blocks[::-1]
    layers: list[nn.Module] = [conv(widths[0])]
    layers += [unit(widths[0]) for _ in range(config.middle_blocks)]
    narrower = widths[1:] if config.narrow_unfolding else widths
    for width, unfolded, count, factors in itertools.zip_longest(
        widths, narrower, blocks, config.strides[::-1]
    ):
        layers += [unit(width) for _ in range(count)]
        if factors is not None:
            layers += [conv(unfolded * math.prod(factors)), Unfold(factors)]
    last = conv(IMAGE_CHANNELS * math.prod(config.patch))
    layers += [FrameNorm(config.norm_groups), Swish(), last]
    return layers if config.patch_size == 1 else [*layers, Unfold(config.patch)]


def multiply_adds(layers: list[nn.Module], params: Mapping[str, Any], size: Sizes) -> int:
    """Multiplications of a clip on its way through layers, edges counted as if they saw pixels.

    Args:
        layers: of `encoder_layers` or `decoder_layers`.
        params: shapes of theirs.
        size: frames, height and width of what they begin with.
    """
    total, (frames, height, width) = 0, size
    for i, layer in enumerate(layers):
        if isinstance(layer, Fold | CausalConv):
            t, h, w = layer.factors if isinstance(layer, Fold) else layer.strides
            frames, height, width = (frames - 1) // t + 1, height // h, width // w
        elif isinstance(layer, Unfold):
            t, h, w = layer.factors
            frames, height, width = 1 + (frames - 1) * t, height * h, width * w
        kernels = [leaf for leaf in jax.tree.leaves(params.get(f"layers_{i}", {})) if leaf.ndim > 1]
        total += frames * height * width * sum(leaf.size for leaf in kernels)
    return total


def last_convolution(config: VideoConfig) -> str:
    """The name of the decoder's layer that writes pixels."""
    layers = decoder_layers(config)
    return f"layers_{max(i for i, x in enumerate(layers) if isinstance(x, CausalConv))}"


def resolutions(config: VideoConfig) -> Iterator[tuple[int, int, Sizes | None]]:
    """Width, units and the strides to the next of each resolution, highest first."""
    return itertools.zip_longest(config.widths, config.blocks, config.strides)
