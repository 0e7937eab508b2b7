"""The VQ tokenizer as a family: what it says of itself.

Letters: B images, h w their token grid, H W pixels, C channels.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from lpd_jax.images import to_model_range, to_uint8
from lpd_jax.models.family import register
from lpd_jax.models.tokenizer_family import EXACT, TokenizerFamily, picture_grid
from lpd_jax.models.tokenizer_loss import LossParts, Perceptual
from lpd_jax.models.vq_loss import TokenizerLossConfig, restart_dead_codes, vq_loss_parts
from lpd_jax.models.vq_tokenizer import VQ_MODELS, VQConfig, VQTokenizer


@register
class VQFamily(TokenizerFamily):
    """LlamaGen's VQ-16 and VQ-8, and small relatives."""

    name = "vq"
    title = "VQ"
    config_type = VQConfig
    models = VQ_MODELS

    config: VQConfig

    def init(self, key: jax.Array) -> Any:
        side = self.config.downsample_factor
        images_BHWC = jnp.zeros((1, side, side, self.config.image_channels))
        return VQTokenizer(self.config).init(key, images_BHWC)["params"]

    def grid_of(self, size: tuple[int, ...], field: str = "images") -> tuple[int, ...]:
        return picture_grid(size, self.config.downsample_factor, field)

    def size_of(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        self.check_axes(grid)
        return tuple(side * self.config.downsample_factor for side in grid)

    def encode(self, params: Any, images_BHWC: jax.Array) -> jax.Array:
        return self._bound(params).encode(to_model_range(images_BHWC))

    def decode(self, params: Any, tokens_Bhw: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        return self._bound(params, dtype).decode(tokens_Bhw)

    def reconstruct(self, params: Any, images_BHWC: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(EXACT):
            tokens_Bhw = self.encode(params, images_BHWC)
        return to_uint8(self.decode(params, tokens_Bhw))

    def loss_parts(
        self,
        weights: TokenizerLossConfig,
        dtype: Any = jnp.float32,
        perceptual: Perceptual | None = None,
        products: str = "plain",
    ) -> LossParts:
        del products
        return vq_loss_parts(self.config, weights, dtype, perceptual)

    @property
    def learns_codes(self) -> bool:
        return self.config.quantizer == "vq"

    def restart_codes(
        self, params: Any, usage_V: jax.Array, restart_below: float, key: jax.Array
    ) -> tuple[Any, jax.Array]:
        return restart_dead_codes(params, usage_V, restart_below, key)

    def part_flops(self, part: str, grid: tuple[int, ...]) -> float:
        """Convolutions, attention at the lowest resolution, and the quantizer when encoding."""
        tokens, last = math.prod(grid), len(self.config.channel_multipliers) - 1
        flops = 0.0
        for path, leaf in self._part_leaves(part):
            if path[-1] != "kernel":
                continue
            places = tokens * 4 ** doublings(path, last)
            weights = leaf.size
            if path[-2].endswith("upsample"):
                # Four pixels for one, written at the lower resolution; or doubled ones, of which
                # two or four are one: see `convolution.by_phases`.
                subpixel = self.config.upsampling == "subpixel"
                weights = leaf.size // 4 if subpixel else leaf.size * 4 // 9
            elif path[-2] == "conv_pixels":
                places *= self.config.patch_size**2
            flops += 2 * weights * places
            if path[-2] == "proj_out":
                flops += 2 * 2 * leaf.shape[-1] * places**2  # scores, and values
        if part == "encoder" and self.config.quantizer == "vq":
            flops += 2 * tokens * self.config.codebook_size * self.config.codebook_dim
        return flops

    def part_bytes(self, part: str) -> int:
        return 4 * sum(leaf.size for _, leaf in self._part_leaves(part))

    def _bound(self, params: Any, dtype: Any = jnp.float32) -> VQTokenizer:
        return VQTokenizer(self.config, dtype).bind({"params": params})

    def _part_leaves(self, part: str) -> Iterable[tuple[tuple[str, ...], Any]]:
        """Path and shape of the weights that a picture meets in "encoder" or "decoder"."""
        convolution = {"encoder": "quant_conv", "decoder": "post_quant_conv"}[part]
        leaves, _ = jax.tree_util.tree_flatten_with_path(
            jax.eval_shape(self.init, jax.random.key(0))
        )
        paths = ((tuple(entry.key for entry in path), leaf) for path, leaf in leaves)
        return [(path, leaf) for path, leaf in paths if path[0] in (part, convolution)]


def doublings(path: tuple[str, ...], last: int) -> int:
    """How often the sides of the token grid are doubled where a convolution writes."""
    part, module = path[:2]
    if module.startswith("conv_blocks_"):
        level = int(module.removeprefix("conv_blocks_").split("_")[0])
        if part == "encoder":
            return last - level - module.endswith("downsample")
        return level + module.endswith("upsample")
    outermost = {"encoder": ("conv_in",), "decoder": ("conv_out", "conv_pixels")}.get(part, ())
    return last if module in outermost else 0
