"""Models small enough to run in every test: 4x4 tokens, 32 codes, 3 classes, random weights."""

import dataclasses
import math
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest

from lpd_jax.models.arpg_sizes import ARPGConfig
from lpd_jax.models.family import config_to_dict
from lpd_jax.models.lpd import LPDConfig
from lpd_jax.models.par_layout import PARConfig
from lpd_jax.models.parameters import abstract_params
from lpd_jax.models.randar import RandARConfig
from lpd_jax.models.video_pictures import VideoPictureConfig
from lpd_jax.models.video_tokenizer import VideoConfig
from lpd_jax.models.vq_tokenizer import VQConfig
from lpd_jax.weights.model_directory import save_model_directory

REPOSITORY = pathlib.Path(__file__).parents[1]
CLASS_NAMES = ["cat", "dog", "owl"]
# For `jax.jit` of what runs once: half the time to compile, slower code.
QUICK_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}

LPD = LPDConfig(
    num_layers=2,
    embed_dim=16,
    num_heads=2,
    mlp_ratio=2,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(CLASS_NAMES),
)
PAR = PARConfig(
    num_layers=2,
    embed_dim=16,
    num_heads=2,
    mlp_multiple=8,
    num_parallel=4,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(CLASS_NAMES),
)
RANDAR = RandARConfig(
    num_layers=2,
    embed_dim=16,
    num_heads=2,
    mlp_multiple=8,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(CLASS_NAMES),
)
ARPG = ARPGConfig(
    num_layers=4,
    embed_dim=16,
    num_heads=2,
    mlp_multiple=8,
    grid_size=(4, 4),
    codebook_size=32,
    num_classes=len(CLASS_NAMES),
)
# Cells of 2x2 pixels; of one resolution, which takes two thirds of the time to compile of two.
VQ = VQConfig(
    base_channels=32,
    channel_multipliers=(1,),
    patch_size=2,
    num_res_blocks=1,
    z_channels=32,
    codebook_size=LPD.codebook_size,
)
# Grids of clips: 4 frames and 4x4 pixels a token, the first frame alone.
VIDEO = VideoConfig(
    base_channels=32,
    channel_multipliers=(1, 1, 1),
    num_res_blocks=1,
    middle_blocks=0,
    time_strides=(2, 2),
    fsq_levels=(8, 4),
)
# The same layers for pictures, from which it can be inflated.
VIDEO_PICTURES = VideoPictureConfig(
    base_channels=32,
    channel_multipliers=(1, 1, 1),
    num_res_blocks=1,
    middle_blocks=0,
    fsq_levels=(8, 4),
)
CLIPS = dataclasses.replace(PAR, grid_size=(2, 4, 4))  # by the tokens of VIDEO


def random_params(config: Any, seed: int = 0) -> dict[str, Any]:
    """Weights without compiling an initialiser, so lively that labels and orders show in tokens."""
    rng = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name, noise = path[-1].key, rng.standard_normal(leaf.shape, np.float32)
        if name == "kernel":
            # The last axis is the output; blocks/* have their layers along the first.
            fan_in = math.prod(leaf.shape[path[0].key == "blocks" : -1])
            return noise * np.float32(2 / math.sqrt(fan_in))
        if name in ("scale", "bias"):
            return (name == "scale") + noise * np.float32(0.1)
        return noise * np.float32(3 if name == "class_embed" else 1)

    return jax.tree_util.tree_map_with_path(draw, abstract_params(config))


def write_model_directory(
    path, transformer=LPD, tokenizer=VQ, image_size=(8, 8), **generation
) -> pathlib.Path:
    """A model directory of random weights; None leaves a model out."""
    config = {
        "image_size": list(image_size),
        "class_names": CLASS_NAMES,
        "transformer": transformer and config_to_dict(transformer),
        "tokenizer": tokenizer and config_to_dict(tokenizer),
        "generation": {"order": "locality", "num_steps": 4, "guidance_scale": 2.0} | generation,
    }
    save_model_directory(
        path,
        config,
        transformer and random_params(transformer, seed=0),
        tokenizer and random_params(tokenizer, seed=1),
    )
    return pathlib.Path(path)


def write_clip_model(path, **generation) -> pathlib.Path:
    """A model directory that draws clips of 5 frames of 16x16 pixels, of random weights."""
    generation = {"order": "region", "num_steps": None} | generation
    return write_model_directory(path, CLIPS, VIDEO, (5, 16, 16), **generation)


def process_environment(cache: pathlib.Path) -> dict[str, str]:
    """For processes that compile the same programs: quickly, and once, kept in a folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


def run_python(*arguments: object, cwd, timeout=300) -> subprocess.CompletedProcess:
    """Runs a script or `-c` code in its own process, as a user would."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )


def folder_without_text(parent: pathlib.Path) -> pathlib.Path:
    """A new folder whose name is no UTF-8, where the file system has such names."""
    folder = parent / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    return folder
