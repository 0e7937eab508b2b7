"""The VQ tokenizer: pixels to a grid of codebook tokens and back (LlamaGen's VQ-16 and VQ-8).

Channels last. Dimension key: B batch, H W grid or image, C channels, E codebook width, V codebook.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.quantizers import (
    FSQ,
    LFQ,
    CosineCodebook,
    check_quantizer,
    init_codebook,
)
from lpd_jax.models.size_limits import MOST_CODES, MOST_WIDTH
from lpd_jax.models.vq_blocks import (
    NORM_GROUPS,
    AttentionBlock,
    ResBlock,
    conv3x3,
    downsample,
    fold_pixels,
    group_norm,
    middle,
    subpixel,
    unfold_pixels,
    upsample,
)
from lpd_jax.runtime.arguments import check_whole
from lpd_jax.runtime.config_fields import check_sizes, check_types, later_field
from lpd_jax.runtime.errors import UserError, shown

SIZES = {  # field -> the most that anything is built of
    "base_channels": MOST_WIDTH,
    "num_res_blocks": 8,
    "z_channels": MOST_WIDTH,
    "codebook_size": MOST_CODES,
    "codebook_dim": MOST_WIDTH,
    "image_channels": 64,
    "patch_size": 64,
}
MAY_BE_0 = {"decoder_channels": MOST_WIDTH, "decoder_blocks": 8, "pixel_channels": MOST_WIDTH}
MOST_RESOLUTIONS, LARGEST_MULTIPLIER, MOST_LEVELS = 8, 64, 16
CHOICES = {"upsampling": ("nearest", "subpixel"), "attention": ("lowest", "middle", "none")}


@dataclasses.dataclass(frozen=True)
class VQConfig:
    """Sizes of a VQ tokenizer; one channel multiplier per resolution, highest first.

    `patch_size` folds squares of pixels into channels before the first convolution and unfolds
    them after the last: 1 is LlamaGen's tokenizer; 2 makes small models cheap at full resolution.

    Options that LlamaGen's tokenizers do not have. `decoder_channels` and `decoder_blocks` make the
    decoder wider and deeper than the encoder (0: as wide, and one block a resolution more).
    `pixel_channels` are written in place of colours, unfolded, and seen by a last convolution over
    pixels: without it nothing smooths over the edges of folded squares (0: none). `upsampling` is
    "nearest", then a convolution, or "subpixel", a convolution that writes four pixels for one.
    `attention` is in all blocks of the "lowest" resolution, only between the two blocks in the
    "middle" of encoder and decoder, or "none". `quantizer` is
    "vq", the learned codebook, "fsq" of `fsq_levels`, or "lfq"; see `quantizers`.
    """

    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    z_channels: int = 256
    codebook_size: int = 16384
    codebook_dim: int = 8
    image_channels: int = 3
    patch_size: int = 1
    decoder_channels: int = later_field(0)
    decoder_blocks: int = later_field(0)
    pixel_channels: int = later_field(0)
    upsampling: str = later_field("nearest")
    attention: str = later_field("lowest")
    quantizer: str = later_field("vq")
    fsq_levels: tuple[int, ...] = later_field(())

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        for field, most in MAY_BE_0.items():
            check_whole(field, getattr(self, field), 0, most)
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise UserError(
                    f"{field}: got {shown(getattr(self, field))}, allowed are {', '.join(allowed)}"
                )
        if len(self.fsq_levels) > MOST_LEVELS:
            raise UserError(
                f"fsq_levels: got {len(self.fsq_levels)} of them, allowed are at most {MOST_LEVELS}"
            )
        check_quantizer(self.quantizer, self.fsq_levels, self.codebook_size, self.codebook_dim)
        if not 1 <= len(self.channel_multipliers) <= MOST_RESOLUTIONS:
            raise UserError(
                f"channel_multipliers: got {len(self.channel_multipliers) or 'none'}, allowed is "
                f"one for each of 1 to {MOST_RESOLUTIONS} resolutions"
            )
        check_channels("base_channels", self.base_channels, self.channel_multipliers)
        check_channels("decoder_channels", self.decoder_sizes[0], self.channel_multipliers)

    @property
    def downsample_factor(self) -> int:
        """Pixels per token side."""
        return self.patch_size * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def decoder_sizes(self) -> tuple[int, int]:
        """Base channels of the decoder, and its blocks a resolution."""
        channels = self.decoder_channels or self.base_channels
        return channels, self.decoder_blocks or self.num_res_blocks + 1


def check_channels(field: str, base: int, multipliers: tuple[int, ...]) -> None:
    """Raises UserError where the groups of a norm do not divide the channels of a resolution."""
    for multiplier in (1, *multipliers):  # 1: the first norm of the encoder
        known = 1 <= multiplier <= LARGEST_MULTIPLIER
        if not known or (base * multiplier) % NORM_GROUPS:
            raise UserError(
                f"{field} x channel_multipliers: got {base} x {shown(multiplier)}, allowed are "
                f"positive multiples of {NORM_GROUPS}, the groups of the norm, and multipliers up "
                f"to {LARGEST_MULTIPLIER}"
            )


VQ_MODELS = {
    "vq16": VQConfig(),
    "vq8": VQConfig(channel_multipliers=(1, 2, 2, 4)),
}


class VQTokenizer(nn.Module):
    """Encoder, quantizer and decoder. Images are float in [-1, 1], `[B, H, W, 3]`.

    Encoder and decoder compute in `dtype`; parameters, latents, the quantizer and the images that
    come out are float32.
    """

    config: VQConfig
    dtype: Any = jnp.float32

    def setup(self):
        cfg = self.config
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)
        self.quant_conv = nn.Conv(cfg.codebook_dim, (1, 1), dtype=jnp.float32)
        self.post_quant_conv = nn.Conv(cfg.z_channels, (1, 1))
        if cfg.quantizer == "vq":  # the others learn no codes
            shape = (cfg.codebook_size, cfg.codebook_dim)
            self.codebook = self.param("codebook", init_codebook, shape)

    def __call__(self, images_BHWC: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Reconstructs images through the codebook, straight-through for gradients.

        Returns:
            Reconstructions `[B, H, W, 3]`, bounded latents `[B, h, w, E]` before and after the
            quantizer (both with gradients), and tokens int32 `[B, h, w]`.
        """
        latents_BHWE = self.quantizer.bound(self.to_latents(images_BHWC))
        tokens_BHW = self.quantizer.index(latents_BHWE)
        quantized_BHWE = self.lookup(tokens_BHW)
        straight_BHWE = latents_BHWE + jax.lax.stop_gradient(quantized_BHWE - latents_BHWE)
        return self.to_pixels(straight_BHWE), latents_BHWE, quantized_BHWE, tokens_BHW

    @property
    def quantizer(self) -> CosineCodebook | FSQ | LFQ:
        if self.config.quantizer == "vq":
            return CosineCodebook(self.codebook)
        if self.config.quantizer == "fsq":
            return FSQ(self.config.fsq_levels)
        return LFQ(self.config.codebook_dim)

    def to_latents(self, images_BHWC: jax.Array) -> jax.Array:
        """Continuous latents `[B, h, w, E]`; UserError for a size that is no whole grid."""
        height, width = images_BHWC.shape[1:3]
        factor = self.config.downsample_factor
        if height % factor or width % factor:
            raise UserError(f"images: got {height}x{width}, allowed are multiples of {factor}")
        return self.quant_conv(self.encoder(images_BHWC.astype(self.dtype)))

    def quantize(self, latents_BHWE: jax.Array) -> jax.Array:
        """Tokens of latents `[B, h, w, E]` as `to_latents` gives them, int32 `[B, h, w]`."""
        return self.quantizer.index(self.quantizer.bound(latents_BHWE))

    def lookup(self, tokens_BHW: jax.Array) -> jax.Array:
        """Codes `[B, h, w, E]` of tokens; those of a codebook have length 1."""
        return self.quantizer.lookup(tokens_BHW)

    def to_pixels(self, quantized_BHWE: jax.Array) -> jax.Array:
        """Images `[B, H, W, 3]`, about [-1, 1], of quantized latents."""
        hidden_BHWC = self.post_quant_conv(quantized_BHWE).astype(self.dtype)
        return self.decoder(hidden_BHWC).astype(jnp.float32)

    def encode(self, images_BHWC: jax.Array) -> jax.Array:
        """Tokens int32 `[B, h, w]` of images."""
        return self.quantize(self.to_latents(images_BHWC))

    def decode(self, tokens_BHW: jax.Array) -> jax.Array:
        """Images `[B, H, W, 3]`, about [-1, 1], of tokens."""
        return self.to_pixels(self.lookup(tokens_BHW))


class Encoder(nn.Module):
    """Convolutions down to the token grid; attention at the lowest resolution."""

    config: VQConfig

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        cfg = self.config
        last = len(cfg.channel_multipliers) - 1
        x_BHWC = fold_pixels(x_BHWC, cfg.patch_size)
        x_BHWC = conv3x3(cfg.base_channels, "conv_in")(x_BHWC)
        for level, multiplier in enumerate(cfg.channel_multipliers):
            for j in range(cfg.num_res_blocks):
                name = f"conv_blocks_{level}"
                x_BHWC = ResBlock(cfg.base_channels * multiplier, name=f"{name}_res_{j}")(x_BHWC)
                if level == last and cfg.attention == "lowest":
                    x_BHWC = AttentionBlock(name=f"{name}_attn_{j}")(x_BHWC)
            if level != last:
                x_BHWC = downsample(x_BHWC, f"conv_blocks_{level}_downsample")
        x_BHWC = middle(x_BHWC, cfg.attention != "none")
        x_BHWC = nn.silu(group_norm("norm_out")(x_BHWC))
        return conv3x3(cfg.z_channels, "conv_out")(x_BHWC)


class Decoder(nn.Module):
    """Convolutions from the token grid up to pixels; the encoder turned round."""

    config: VQConfig

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        cfg = self.config
        base, num_blocks = cfg.decoder_sizes
        multipliers = cfg.channel_multipliers[::-1]
        x_BHWC = conv3x3(base * multipliers[0], "conv_in")(x_BHWC)
        x_BHWC = middle(x_BHWC, cfg.attention != "none")
        for level, multiplier in enumerate(multipliers):
            for j in range(num_blocks):
                name = f"conv_blocks_{level}"
                x_BHWC = ResBlock(base * multiplier, name=f"{name}_res_{j}")(x_BHWC)
                if level == 0 and cfg.attention == "lowest":
                    x_BHWC = AttentionBlock(name=f"{name}_attn_{j}")(x_BHWC)
            if level != len(multipliers) - 1:
                name = f"conv_blocks_{level}_upsample"
                if cfg.upsampling == "nearest":
                    x_BHWC = upsample(x_BHWC, name)
                else:
                    x_BHWC = subpixel(x_BHWC, base * multipliers[level + 1], 2, name)
        x_BHWC = nn.silu(group_norm("norm_out")(x_BHWC))
        if not cfg.pixel_channels:
            x_BHWC = conv3x3(cfg.image_channels * cfg.patch_size**2, "conv_out")(x_BHWC)
            return unfold_pixels(x_BHWC, cfg.patch_size)
        x_BHWC = subpixel(x_BHWC, cfg.pixel_channels, cfg.patch_size, "conv_out")
        return conv3x3(cfg.image_channels, "conv_pixels")(nn.silu(x_BHWC))
