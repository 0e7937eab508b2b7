"""A network and a model small enough to evaluate in a test, and a program that does it."""

import hashlib

import numpy as np

from lpd_jax.evaluation.drawn_pictures import Drawer
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.picture_sets import ArraySet
from lpd_jax.evaluation.references import Reference, make_reference
from lpd_jax.models.settings import Generation
from lpd_jax.weights.model_directory import load_model_directory

NUM_FEATURES = 5

# argv: model directory, output folder, reference pictures, shard after which to die (-1: never)
PROGRAM = """
import os, pathlib, signal, sys
from tests.evaluation import judging
from lpd_jax.evaluation import protocol as evaluate, shards

model, output, real, last = sys.argv[1:]
write = shards.write_shard

def write_and_die(where, shard, found):
    if shard == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    write(where, shard, found)

shards.write_shard = write_and_die
judge = judging.tiny_judge()
pictures = judging.drawn(model, num_images=30)
reference = judging.real_reference(pathlib.Path(real))
evaluate.evaluate(pictures, judge, reference, pathlib.Path(output), shard_size=7, save="npz")
"""


class TinyNetwork:
    """Means of stripes of pixels, and squares of them."""

    num_features = NUM_FEATURES
    digest = "tiny"

    def __init__(self, width: int = NUM_FEATURES):
        self.num_features = width

    def features(self, images_BHWC):
        flat = images_BHWC.reshape(len(images_BHWC), -1).astype(np.float32) / 255
        mix = np.random.default_rng(0).normal(size=(flat.shape[1], self.num_features))
        return np.tanh(flat @ mix.astype(np.float32) / 8)

    def logits(self, features_BF):
        return features_BF[:, :3] * 4


def tiny_judge(width: int = NUM_FEATURES) -> Judge:
    return Judge("efficientnet", TinyNetwork(width), class_names=("cat", "dog", "owl"))


def drawn(model, num_images=30, labels="balanced", **choices):
    files = load_model_directory(model)
    generation = files.config.generation.updated(choices)
    assert isinstance(generation, Generation)
    return Drawer(files, "cats").pictures(generation, num_images, labels)


def write_pictures(path, count=20, size=8, seed=0, **arrays):
    """An .npz of random pictures."""
    images = np.random.default_rng(seed).integers(256, size=(count, size, size, 3), dtype=np.uint8)
    np.savez(path, arr_0=images, **arrays)
    return images


def real_reference(path) -> Reference:
    return make_reference(ArraySet(path), tiny_judge(), "real")


def digest(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
