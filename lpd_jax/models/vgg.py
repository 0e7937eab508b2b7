"""VGG-16 (Simonyan and Zisserman, arXiv 1409.1556) up to its last convolution, as LPIPS sees it."""

import flax.linen as nn
import jax

# Channels of the convolutions of each block; a 2x2 maximum stands between blocks.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """13 convolutions of 3x3, 14.7 M parameters, 31 GFLOPs for a picture of 224x224."""

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> list[jax.Array]:
        """Normalised pictures `[B, H, W, 3]`, in the dtype to compute in -> five taps.

        The taps are what leaves each block's last ReLU (relu1_2, 2_2, 3_3, 4_3, 5_3), of 1 to
        1/16 of the picture's sides and 64, 128, 256, 512 and 512 channels.
        """
        taps: list[jax.Array] = []
        for i, block in enumerate(BLOCKS):
            if i:
                x_BHWC = nn.max_pool(x_BHWC, (2, 2), (2, 2))
            for j, channels in enumerate(block):
                name = f"conv_{i + 1}_{j + 1}"
                x_BHWC = nn.Conv(channels, (3, 3), dtype=x_BHWC.dtype, name=name)(x_BHWC)
                x_BHWC = nn.relu(x_BHWC)
            taps.append(x_BHWC)
        return taps
