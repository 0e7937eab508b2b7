"""The seeded video tokenizer of tests/golden/video_tok_dev.npz: its weights follow from names."""

import functools
import pathlib
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.weights.from_torch.conversion import from_torch

FOLDER = pathlib.Path(__file__).parent / "golden"
GOLDEN = dict(np.load(FOLDER / "video_tok_dev.npz"))


def released_shapes():
    """Names and shapes of the public weights."""
    lines = (FOLDER / "video_tok_names.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {name: tuple(map(int, re.findall(r"\d+", shape))) for name, shape in rows}


def tensor(prefix, name, shape):
    """As the list of names says."""
    random = np.random.RandomState(zlib.crc32((prefix + name).encode()))

    def noise(scale):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    if name.endswith("beta"):
        return (1 + noise(0.3)).astype(np.float32)
    if len(shape) == 1:
        return (1 + noise(0.1)).astype(np.float32) if name.endswith("weight") else noise(0.1)
    gain = 2.0 if name == "encoder_layers.26.weight" else 1.0
    return noise(gain / np.sqrt(np.prod(shape[1:])))


def seeded_weights():
    """The official state dict: all widths are those of the public one times base / 128."""
    kept, prefix, base = (3, 6), str(GOLDEN["meta/prefix"]), int(GOLDEN["meta/base"])
    state_dict = {}
    for name, shape in released_shapes().items():
        channels = [n if n in kept or n == 1 else n * base // 128 for n in shape[:2]]
        state_dict[name] = tensor(prefix, name, (*channels, *shape[2:]))
    return state_dict


@functools.cache
def converted():
    config, params = from_torch(seeded_weights())
    return config, jax.tree.map(jnp.asarray, params)


def channels_last(array):
    """Of `[B, C, T, H, W]`."""
    return np.moveaxis(array, 1, -1)
