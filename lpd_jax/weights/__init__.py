"""Model directories: found here or on the Hugging Face hub, read, written.

A model directory is what `Pipeline.from_pretrained` opens. `from_torch` makes parameters of
official PyTorch weights; `checkpoint` and `loading` read what a training run has saved.
"""

from lpd_jax.weights.directory_config import DirectoryConfig
from lpd_jax.weights.hub import find_model_directory
from lpd_jax.weights.model_card import ModelFacts
from lpd_jax.weights.model_directory import (
    ModelFiles,
    load_model_directory,
    read_directory_config,
    save_model_directory,
)
from lpd_jax.weights.perceptual import PerceptualConfig, PerceptualLoss, load_perceptual

__all__ = [
    "DirectoryConfig",
    "ModelFacts",
    "ModelFiles",
    "PerceptualConfig",
    "PerceptualLoss",
    "find_model_directory",
    "load_model_directory",
    "load_perceptual",
    "read_directory_config",
    "save_model_directory",
]
