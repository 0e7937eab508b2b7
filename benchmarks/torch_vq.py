"""The VQ tokenizer in plain, eager PyTorch: what `lpd_jax.models.tokenizer` is timed against.

Modules are named as the official weights are. Dimension key: B batch, C channels, H W grid or
image, T positions of a grid, E codebook width, V codebook.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor, nn

from lpd_jax.models.vq_blocks import NORM_EPSILON, NORM_GROUPS
from lpd_jax.models.vq_tokenizer import VQConfig


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPSILON)


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), conv3x3(inputs, outputs)
        self.norm2, self.conv2 = norm(outputs), conv3x3(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(F.silu(self.norm2(h_BCHW)))
        return h_BCHW + (self.nin_shortcut(x_BCHW) if hasattr(self, "nin_shortcut") else x_BCHW)


class AttentionBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.norm(x_BCHW)
        q, k, v = (
            layer(h_BCHW).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v)
        )
        mixed_BTC = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x_BCHW + self.proj_out(mixed_BTC.transpose(1, 2).reshape(x_BCHW.shape))


class Resample(nn.Module):
    """A convolution with half or twice the sides."""

    def __init__(self, channels: int, up: bool):
        super().__init__()
        self.up = up
        self.conv = conv3x3(channels, channels) if up else nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.up:
            return self.conv(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))
        return self.conv(F.pad(x_BCHW, (0, 1, 0, 1)))


def middle(channels: int) -> nn.ModuleList:
    parts = (ResBlock(channels, channels), AttentionBlock(channels), ResBlock(channels, channels))
    return nn.ModuleList(parts)


class Level(nn.Module):
    """Blocks of one resolution, and the way to the next."""

    def __init__(self, inputs: int, outputs: int, num_blocks: int, attends: bool):
        super().__init__()
        widths = [inputs] + [outputs] * num_blocks
        self.res = nn.ModuleList(map(ResBlock, widths[:-1], widths[1:]))
        if attends:
            self.attn = nn.ModuleList([AttentionBlock(outputs) for _ in range(num_blocks)])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for j, block in enumerate(self.res):
            x_BCHW = block(x_BCHW)
            if hasattr(self, "attn"):
                x_BCHW = self.attn[j](x_BCHW)
        for name in ("downsample", "upsample"):
            x_BCHW = getattr(self, name)(x_BCHW) if hasattr(self, name) else x_BCHW
        return x_BCHW


class Encoder(nn.Module):
    def __init__(self, cfg: VQConfig):
        super().__init__()
        widths = [cfg.base_channels * m for m in (1, *cfg.channel_multipliers)]
        last = len(cfg.channel_multipliers) - 1
        self.patch_size = cfg.patch_size
        self.conv_in = conv3x3(cfg.image_channels * cfg.patch_size**2, cfg.base_channels)
        self.conv_blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            level = Level(inputs, outputs, cfg.num_res_blocks, attends=i == last)
            if i != last:
                level.downsample = Resample(outputs, up=False)
            self.conv_blocks.append(level)
        self.mid = middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), conv3x3(widths[-1], cfg.z_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(fold_pixels(x_BCHW, self.patch_size))
        for part in (*self.conv_blocks, *self.mid):
            x_BCHW = part(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))


class Decoder(nn.Module):
    def __init__(self, cfg: VQConfig):
        super().__init__()
        widths = [cfg.base_channels * m for m in cfg.channel_multipliers[::-1]]
        last = len(widths) - 1
        self.patch_size = cfg.patch_size
        self.conv_in, self.mid = conv3x3(cfg.z_channels, widths[0]), middle(widths[0])
        self.conv_blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(zip([widths[0], *widths], widths, strict=False)):
            level = Level(inputs, outputs, cfg.num_res_blocks + 1, attends=i == 0)
            if i != last:
                level.upsample = Resample(outputs, up=True)
            self.conv_blocks.append(level)
        self.norm_out = norm(widths[-1])
        self.conv_out = conv3x3(widths[-1], cfg.image_channels * cfg.patch_size**2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for part in (*self.mid, *self.conv_blocks):
            x_BCHW = part(x_BCHW)
        return unfold_pixels(self.conv_out(F.silu(self.norm_out(x_BCHW))), self.patch_size)


class VQTokenizer(nn.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self, config: VQConfig):
        super().__init__()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.codebook_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.codebook_dim, config.z_channels, 1)
        codebook = nn.Embedding(config.codebook_size, config.codebook_dim)
        self.quantize = nn.ModuleDict({"embedding": codebook})

    @torch.inference_mode()
    def encode(self, images_BHWC: Tensor) -> Tensor:
        """Tokens int64 `[B, N]` in raster order of pictures uint8 `[B, H, W, 3]`."""
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        latents_BEHW = self.quant_conv(self.encoder(images_BCHW.contiguous()))
        latents_BTE = F.normalize(latents_BEHW.flatten(2).transpose(1, 2).float(), dim=-1)
        codebook_VE = F.normalize(self.quantize["embedding"].weight.float(), dim=-1)
        return (latents_BTE @ codebook_VE.T).argmax(-1)

    @torch.inference_mode()
    def decode(self, tokens_BN: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """Pictures uint8 `[B, H, W, 3]` of tokens `[B, N]` in raster order."""
        latents_BNE = F.normalize(self.quantize["embedding"].weight[tokens_BN], dim=-1)
        latents_BEHW = latents_BNE.transpose(1, 2).unflatten(2, grid_size).contiguous()
        images_BCHW = self.decoder(self.post_quant_conv(latents_BEHW))
        images_BHWC = images_BCHW.permute(0, 2, 3, 1).float()
        return (127.5 * images_BHWC + 128.0).clamp(0.0, 255.0).to(torch.uint8)


def fold_pixels(x_BCHW: Tensor, size: int) -> Tensor:
    """Turns squares of `size` x `size` pixels into channels, the pixel's own last."""
    B, C, H, W = x_BCHW.shape
    x = x_BCHW.view(B, C, H // size, size, W // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(B, size * size * C, H // size, W // size)


def unfold_pixels(x_BCHW: Tensor, size: int) -> Tensor:
    """Undoes `fold_pixels`."""
    B, C, H, W = x_BCHW.shape
    x = x_BCHW.view(B, size, size, C // size**2, H, W).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(B, C // size**2, H * size, W * size)
