"""The weights that the golden arrays of networks were made with, by the recipe in their files."""

import ast
import zlib

import numpy as np


def seeded_state_dict(file, head, head_scale):
    """Of a file of official names and shapes; the weights of the head have a scale of their own."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    named = [line.split("\t")[:2] for line in lines]
    return {
        name: seeded(name, ast.literal_eval(shape), head_scale if name.startswith(head) else None)
        for name, shape in named
    }


def seeded(name, shape, scale):
    """One of them; without a scale it is that of its inputs."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))  # its stream is frozen

    def normal(scale):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return np.exp(normal(0.2))
    if name.endswith(("running_mean", "bias")):
        return normal(0.1)
    if name.endswith("bn.weight"):
        return (1 + normal(0.1)).astype(np.float32)
    return normal(scale or np.sqrt(2 / np.prod(shape[1:])))
