"""EfficientNet-Lite0: a small ImageNet classifier that anyone can install, as features of pictures.

EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6: 4.6 M
parameters, 0.79 GFLOPs for a picture of 224x224, 0.066 for one of 64x64. The batch norms of its
release are folded into the convolutions (`weights.from_torch.efficientnet_lite`), so there are no
statistics: parameters are kernels and biases, and never trained here.

Letters: B batch, H height, W width, C channels, F features.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lpd_jax.models.convolution import DIMENSIONS
from lpd_jax.models.depthwise import Depthwise

IMAGE_SIZE = 224  # of the pictures it was trained with; it takes others too
FEATURE_DIM = 1280
NUM_CLASSES = 1000
STEM_CHANNELS = 32


class BlockSpec(NamedTuple):
    """One inverted bottleneck."""

    window: int
    stride: int
    expansion: int
    channels: int  # it gives


BLOCKS = (
    BlockSpec(3, 1, 1, 16),
    *[BlockSpec(3, stride, 6, 24) for stride in (2, 1)],
    *[BlockSpec(5, stride, 6, 40) for stride in (2, 1)],
    *[BlockSpec(3, stride, 6, 80) for stride in (2, 1, 1)],
    *[BlockSpec(5, stride, 6, 112) for stride in (1, 1, 1)],
    *[BlockSpec(5, stride, 6, 192) for stride in (2, 1, 1, 1)],
    BlockSpec(3, 1, 6, 320),
)
# The last block of each resolution: 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture.
STAGE_ENDS = (0, 2, 4, 10, 15)
NUM_STAGES = len(STAGE_ENDS)


class Convolution(nn.Module):
    """Convolution with bias, padded as TensorFlow pads: the odd pixel goes to the end."""

    channels: int
    window: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        shape = (self.window, self.window, x_BHWC.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias_C = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        kernel, bias_C = kernel.astype(x_BHWC.dtype), bias_C.astype(x_BHWC.dtype)
        strides = (self.stride, self.stride)
        x_BHWC = jax.lax.conv_general_dilated(
            x_BHWC, kernel, strides, "SAME", dimension_numbers=DIMENSIONS
        )
        return x_BHWC + bias_C[None, None, None]


class Block(nn.Module):
    """Widens, looks around channel by channel, narrows; adds its input where shapes allow."""

    spec: BlockSpec

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        window, stride, expansion, channels = self.spec
        inputs, y_BHWC = x_BHWC.shape[-1], x_BHWC
        if expansion > 1:
            y_BHWC = nn.relu6(Convolution(inputs * expansion, name="expand")(y_BHWC))
        y_BHWC = nn.relu6(Depthwise(window, stride, name="depthwise")(y_BHWC))
        y_BHWC = Convolution(channels, name="project")(y_BHWC)
        return x_BHWC + y_BHWC if stride == 1 and inputs == channels else y_BHWC


class EfficientNetLite0(nn.Module):
    """Taps of the first stages, and, if all run, what the classifier sees and says.

    Attributes:
        num_stages: how many run, 1 to 5. The parameters of later ones may be given and are ignored.
        head: also the pooled features and the logits; needs all stages.
    """

    num_stages: int = NUM_STAGES
    head: bool = True

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> dict[str, jax.Array]:
        """Floats in [-1, 1] `[B, H, W, 3]`, in the dtype to compute in.

        Returns:
            "stage_1" ... "stage_5": outputs of the last block at 1/2, 1/4 ... 1/32 of the size,
            `[B, H, W, C]` of 16, 24, 40, 112 and 320 channels, no activation after them. With
            `head` also "features", float32 `[B, 1280]`, the mean over all places, and "logits",
            float32 `[B, 1000]` in the order of ImageNet's sorted synsets.
        """
        # The release takes (pixel - 127) / 128, and a pixel is 127.5 (x + 1).
        x_BHWC = images_BHWC * (127.5 / 128) + 0.5 / 128
        x_BHWC = nn.relu6(Convolution(STEM_CHANNELS, 3, 2, name="stem")(x_BHWC))
        outputs = {}
        for i, spec in enumerate(BLOCKS[: STAGE_ENDS[self.num_stages - 1] + 1]):
            x_BHWC = Block(spec, name=f"block_{i}")(x_BHWC)
            if i in STAGE_ENDS:
                outputs[f"stage_{STAGE_ENDS.index(i) + 1}"] = x_BHWC
        if not self.head:
            return outputs
        x_BHWC = nn.relu6(Convolution(FEATURE_DIM, name="head")(x_BHWC))
        features_BF = x_BHWC.astype(jnp.float32).mean(axis=(1, 2))
        return outputs | {
            "features": features_BF,
            "logits": nn.Dense(NUM_CLASSES, name="classes")(features_BF),
        }
