"""The VQ tokenizer: pixels to a grid of codebook tokens and back (LlamaGen's VQ-16 and VQ-8).

Channels last. Dimension key: B batch, H W grid or image, C channels, E codebook width, V codebook.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.convolution import Conv3x3
from lpd_jax.models.size_limits import MOST_CODES, MOST_WIDTH
from lpd_jax.runtime.config_fields import check_sizes, check_types
from lpd_jax.runtime.errors import UserError, shown

NORM_GROUPS = 32
NORM_EPSILON = 1e-6
SIZES = {  # field -> the most that anything is built of
    "base_channels": MOST_WIDTH,
    "num_res_blocks": 8,
    "z_channels": MOST_WIDTH,
    "codebook_size": MOST_CODES,
    "codebook_dim": MOST_WIDTH,
    "image_channels": 64,
    "patch_size": 64,
}
MOST_RESOLUTIONS, LARGEST_MULTIPLIER = 8, 64


@dataclasses.dataclass(frozen=True)
class VQConfig:
    """Sizes of a VQ tokenizer; one channel multiplier per resolution, highest first.

    `patch_size` folds squares of pixels into channels before the first convolution and unfolds
    them after the last: 1 is LlamaGen's tokenizer; 2 makes small models cheap at full resolution.
    """

    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    z_channels: int = 256
    codebook_size: int = 16384
    codebook_dim: int = 8
    image_channels: int = 3
    patch_size: int = 1

    def __post_init__(self):
        check_types(self)
        check_sizes(self, SIZES)
        if not 1 <= len(self.channel_multipliers) <= MOST_RESOLUTIONS:
            raise UserError(
                f"channel_multipliers: got {len(self.channel_multipliers) or 'none'}, allowed is "
                f"one for each of 1 to {MOST_RESOLUTIONS} resolutions"
            )
        for multiplier in (1, *self.channel_multipliers):  # 1: the first norm of the encoder
            known = 1 <= multiplier <= LARGEST_MULTIPLIER
            if not known or (self.base_channels * multiplier) % NORM_GROUPS:
                raise UserError(
                    f"base_channels x channel_multipliers: got {self.base_channels} x "
                    f"{shown(multiplier)}, allowed are positive multiples of {NORM_GROUPS}, the "
                    "groups "
                    f"of the norm, and multipliers up to {LARGEST_MULTIPLIER}"
                )

    @property
    def downsample_factor(self) -> int:
        """Pixels per token side."""
        return self.patch_size * 2 ** (len(self.channel_multipliers) - 1)


VQ_MODELS = {
    "vq16": VQConfig(),
    "vq8": VQConfig(channel_multipliers=(1, 2, 2, 4)),
}


class VQTokenizer(nn.Module):
    """Encoder, quantizer and decoder. Images are float in [-1, 1], `[B, H, W, 3]`."""

    config: VQConfig

    def setup(self):
        cfg = self.config
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)
        self.quant_conv = nn.Conv(cfg.codebook_dim, (1, 1))
        self.post_quant_conv = nn.Conv(cfg.z_channels, (1, 1))
        self.codebook = self.param("codebook", init_codebook, (cfg.codebook_size, cfg.codebook_dim))

    def __call__(self, images_BHWC: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Reconstructs images through the codebook, straight-through for gradients.

        Returns:
            Reconstructions `[B, H, W, 3]`, unit latents `[B, h, w, E]` before and after the
            quantizer (both with gradients), and tokens int32 `[B, h, w]`.
        """
        latents_BHWE = unit_length(self.to_latents(images_BHWC))
        tokens_BHW = self.quantize(latents_BHWE)
        quantized_BHWE = self.lookup(tokens_BHW)
        straight_BHWE = latents_BHWE + jax.lax.stop_gradient(quantized_BHWE - latents_BHWE)
        return self.to_pixels(straight_BHWE), latents_BHWE, quantized_BHWE, tokens_BHW

    def to_latents(self, images_BHWC: jax.Array) -> jax.Array:
        """Continuous latents `[B, h, w, E]`; UserError for a size that is no whole grid."""
        height, width = images_BHWC.shape[1:3]
        factor = self.config.downsample_factor
        if height % factor or width % factor:
            raise UserError(f"images: got {height}x{width}, allowed are multiples of {factor}")
        return self.quant_conv(self.encoder(images_BHWC))

    def quantize(self, latents_BHWE: jax.Array) -> jax.Array:
        """Index of the nearest code, int32 `[B, h, w]`; both sides are normalised to length 1.

        Between unit vectors the nearest is the one with the largest inner product.
        """
        latents_BHWE = unit_length(latents_BHWE.astype(jnp.float32))
        codebook_VE = unit_length(self.codebook)
        # In full float32 on accelerators too: less would confuse codes that lie close together.
        precision = jax.lax.Precision.HIGHEST
        scores_BHWV = jnp.einsum("BHWE,VE->BHWV", latents_BHWE, codebook_VE, precision=precision)
        return jnp.argmax(scores_BHWV, axis=-1).astype(jnp.int32)

    def lookup(self, tokens_BHW: jax.Array) -> jax.Array:
        """Unit-length codebook vectors `[B, h, w, E]` of tokens."""
        return unit_length(self.codebook[tokens_BHW])

    def to_pixels(self, quantized_BHWE: jax.Array) -> jax.Array:
        """Images `[B, H, W, 3]`, about [-1, 1], of quantized latents."""
        return self.decoder(self.post_quant_conv(quantized_BHWE))

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
                if level == last:
                    x_BHWC = AttentionBlock(name=f"{name}_attn_{j}")(x_BHWC)
            if level != last:
                x_BHWC = downsample(x_BHWC, f"conv_blocks_{level}_downsample")
        x_BHWC = middle(x_BHWC)
        x_BHWC = nn.silu(group_norm("norm_out")(x_BHWC))
        return conv3x3(cfg.z_channels, "conv_out")(x_BHWC)


class Decoder(nn.Module):
    """Convolutions from the token grid up to pixels; the encoder turned round."""

    config: VQConfig

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        cfg = self.config
        multipliers = cfg.channel_multipliers[::-1]
        x_BHWC = conv3x3(cfg.base_channels * multipliers[0], "conv_in")(x_BHWC)
        x_BHWC = middle(x_BHWC)
        for level, multiplier in enumerate(multipliers):
            for j in range(cfg.num_res_blocks + 1):
                name = f"conv_blocks_{level}"
                x_BHWC = ResBlock(cfg.base_channels * multiplier, name=f"{name}_res_{j}")(x_BHWC)
                if level == 0:
                    x_BHWC = AttentionBlock(name=f"{name}_attn_{j}")(x_BHWC)
            if level != len(multipliers) - 1:
                x_BHWC = upsample(x_BHWC, f"conv_blocks_{level}_upsample")
        x_BHWC = nn.silu(group_norm("norm_out")(x_BHWC))
        x_BHWC = conv3x3(cfg.image_channels * cfg.patch_size**2, "conv_out")(x_BHWC)
        return unfold_pixels(x_BHWC, cfg.patch_size)


class ResBlock(nn.Module):
    """norm, swish, conv, norm, swish, conv, plus a skip (1x1 where the width changes)."""

    channels: int

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        h_BHWC = conv3x3(self.channels, "conv1")(nn.silu(group_norm("norm1")(x_BHWC)))
        h_BHWC = conv3x3(self.channels, "conv2")(nn.silu(group_norm("norm2")(h_BHWC)))
        if x_BHWC.shape[-1] != self.channels:
            x_BHWC = nn.Conv(self.channels, (1, 1), name="nin_shortcut")(x_BHWC)
        return x_BHWC + h_BHWC


class AttentionBlock(nn.Module):
    """Single-head self-attention over all positions of the grid, with a residual."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        B, H, W, C = x_BHWC.shape
        x_BTC = group_norm("norm")(x_BHWC).reshape(B, H * W, C)
        q_BTC, k_BTC, v_BTC = (nn.Conv(C, (1,), name=name)(x_BTC) for name in ("q", "k", "v"))
        scores_BTU = jnp.einsum("BTC,BUC->BTU", q_BTC, k_BTC).astype(jnp.float32) * C**-0.5
        weights_BTU = jax.nn.softmax(scores_BTU, axis=-1).astype(v_BTC.dtype)
        x_BTC = jnp.einsum("BTU,BUC->BTC", weights_BTU, v_BTC)
        return x_BHWC + nn.Conv(C, (1,), name="proj_out")(x_BTC).reshape(B, H, W, C)


def middle(x_BHWC: jax.Array) -> jax.Array:
    """ResBlock, attention, ResBlock at the lowest resolution."""
    channels = x_BHWC.shape[-1]
    x_BHWC = ResBlock(channels, name="mid_0")(x_BHWC)
    x_BHWC = AttentionBlock(name="mid_1")(x_BHWC)
    return ResBlock(channels, name="mid_2")(x_BHWC)


def downsample(x_BHWC: jax.Array, name: str) -> jax.Array:
    """Halves both sides. The one pixel of padding goes right and below, as in the reference."""
    return Conv3x3(x_BHWC.shape[-1], stride=2, padding=(0, 1), name=name)(x_BHWC)


def upsample(x_BHWC: jax.Array, name: str) -> jax.Array:
    """Doubles both sides: nearest neighbour, then a convolution."""
    return Conv3x3(x_BHWC.shape[-1], doubled=True, name=name)(x_BHWC)


def fold_pixels(x_BHWC: jax.Array, size: int) -> jax.Array:
    """Turns squares of `size` x `size` pixels into channels."""
    B, H, W, C = x_BHWC.shape
    x = x_BHWC.reshape(B, H // size, size, W // size, size, C).swapaxes(2, 3)
    return x.reshape(B, H // size, W // size, size * size * C)


def unfold_pixels(x_BHWC: jax.Array, size: int) -> jax.Array:
    """Undoes `fold_pixels`."""
    B, H, W, C = x_BHWC.shape
    x = x_BHWC.reshape(B, H, W, size, size, C // size**2).swapaxes(2, 3)
    return x.reshape(B, H * size, W * size, C // size**2)


def conv3x3(channels: int, name: str) -> Conv3x3:
    return Conv3x3(channels, name=name)


class GroupNorm(nn.Module):
    """Group normalisation over positions and the channels of a group.

    Moments are taken per channel first and joined to groups at `[B, C]`, so that the image-sized
    work is one reduction and one multiply-add: a fifth of `nn.GroupNorm`'s time on CPU.
    """

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        B, *_, C = x_BHWC.shape
        scale_C = self.param("scale", nn.initializers.ones_init(), (C,))
        bias_C = self.param("bias", nn.initializers.zeros_init(), (C,))
        x32_BHWC = x_BHWC.astype(jnp.float32)
        axes = tuple(range(1, x_BHWC.ndim - 1))
        mean_BC = group_mean(x32_BHWC.mean(axes))
        variance_BC = group_mean(jnp.square(x32_BHWC).mean(axes)) - jnp.square(mean_BC)
        gain_BC = scale_C[None] * jax.lax.rsqrt(jnp.maximum(variance_BC, 0.0) + NORM_EPSILON)
        shift_BC = bias_C[None] - mean_BC * gain_BC
        wide = (B, *(1,) * len(axes), C)
        y_BHWC = x32_BHWC * gain_BC.reshape(wide) + shift_BC.reshape(wide)
        return y_BHWC.astype(x_BHWC.dtype)


def group_mean(x_BC: jax.Array) -> jax.Array:
    """Replaces each channel by the mean of its group of channels."""
    B, C = x_BC.shape
    mean_BG1 = x_BC.reshape(B, NORM_GROUPS, C // NORM_GROUPS).mean(-1, keepdims=True)
    return jnp.broadcast_to(mean_BG1, (B, NORM_GROUPS, C // NORM_GROUPS)).reshape(B, C)


def group_norm(name: str) -> GroupNorm:
    return GroupNorm(name=name)


def unit_length(x: jax.Array) -> jax.Array:
    """Scales vectors along the last axis to length 1; the floor of the norm is torch's, 1e-12."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    # The floor sits inside the root, where a zero vector still has a finite gradient.
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def init_codebook(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Uniform in +-1/V, then unit length, as the reference starts."""
    bound = 1.0 / shape[0]
    return unit_length(jax.random.uniform(key, shape, jnp.float32, -bound, bound))
