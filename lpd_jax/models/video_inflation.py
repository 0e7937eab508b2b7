"""Inflation: a tokenizer of clips starts from a trained one of pictures with the same layers.

As Open-MAGVIT2 starts its video tokenizer (arXiv 2409.04410). A kernel over pixels becomes the last
time tap of one over frames and pixels, whose other taps are 0; a convolution that unfolds one frame
into two writes the picture's channels for each. So a clip of one frame gives just what the picture
gives, its tokens too, and so does every frame of a clip that stands still.

Dimension key: T frames, H W pixels, I O channels in and out.
"""

from typing import Any

import jax
import numpy as np

from lpd_jax.models.parameters import abstract_params


def inflate(params: Any, config: Any) -> Any:
    """Parameters of a tokenizer of clips made of those of pictures, NumPy arrays both.

    Args:
        params: of a tokenizer whose config differs in nothing but time.
        config: of the tokenizer of clips.
    """
    return jax.tree.map(inflate_leaf, params, abstract_params(config))


def inflate_leaf(leaf: Any, wanted: jax.ShapeDtypeStruct) -> np.ndarray:
    """A kernel `[T, H, W, I, O]`, or what belongs to channels `[O]`, in its new shape."""
    array = np.asarray(leaf)
    # Frames are the slowest part of channels that unfold.
    frames = wanted.shape[-1] // array.shape[-1]
    array = np.concatenate([array] * max(1, frames), axis=-1)
    if array.ndim < 5:
        return array
    taps = wanted.shape[0] - array.shape[0]
    return np.pad(array, [(max(0, taps), 0)] + [(0, 0)] * (array.ndim - 1))
